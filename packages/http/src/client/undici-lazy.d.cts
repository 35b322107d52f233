/** Types of undici-lazy.cjs; undici/lib has no declarations. */
export declare function loadApi(): object;
export declare function loadDispatcher1Wrapper(): unknown;
export declare function loadGlobal(): void;
export declare function loadWeb(): object;
