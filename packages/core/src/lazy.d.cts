/** Types of lazy.cjs. The callers say which module it is: they see the types of its ESM entry. */
export declare function loadZod(): unknown;
export declare function loadYaml(): unknown;
export declare function loadRe2(): unknown;
