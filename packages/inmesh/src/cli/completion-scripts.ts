/** Scripts by which shells complete a program: they ask `<program> __complete` what may come next. */
import { loadSuggest } from "./arguments.ts";
import { UsageFailure } from "./failure.ts";

/** Each gets the words up to the cursor, prints `candidate<tab>meaning` lines, and falls back to files where asked. */
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `# For this shell: source <(PROGRAM completion bash)
# For all: PROGRAM completion bash > ~/.local/share/bash-completion/completions/PROGRAM
_PROGRAM_ID() {
  local IFS=$'\\n' line current="\${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=()
  for line in $(PROGRAM __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
    if [ "$line" = ":file" ]; then
      COMPREPLY+=($(compgen -f -- "$current"))
      compopt -o filenames
    else
      COMPREPLY+=("\${line%%$'\\t'*}")
      # What ends so goes on.
      [ "\${line%/}" = "$line" ] || compopt -o nospace
    fi
  done
}
complete -F _PROGRAM_ID PROGRAM`,
  zsh: `#compdef PROGRAM
# For this shell: source <(PROGRAM completion zsh)
# For all: PROGRAM completion zsh > "\${fpath[1]}/_PROGRAM"
_PROGRAM_ID() {
  local line
  local -a found
  for line in "\${(@f)$(PROGRAM __complete "\${words[@]:1:CURRENT-1}" 2>/dev/null)}"; do
    if [[ "$line" = ":file" ]]; then
      _files
    elif [[ -n "$line" ]]; then
      found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    fi
  done
  (( \${#found} )) && _describe PROGRAM found
}
if [ "\${funcstack[1]}" = "_PROGRAM_ID" ]; then
  _PROGRAM_ID "$@"
else
  compdef _PROGRAM_ID PROGRAM
fi`,
  fish: `# For this shell: PROGRAM completion fish | source
# For all: PROGRAM completion fish > ~/.config/fish/completions/PROGRAM.fish
function __PROGRAM_ID_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (PROGRAM __complete $words[2..-1] 2>/dev/null)
        if test "$line" = ":file"
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_ID_complete)'`,
};

/** Throws a UsageFailure for another shell. */
export async function completionScript(program: string, shell: string): Promise<string> {
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (script === undefined) {
    const suggest = await loadSuggest();
    throw new UsageFailure([
      `<shell> ${JSON.stringify(shell)} ${suggest(shell, Object.keys(SCRIPTS))}`,
    ]);
  }
  // Names of functions have no dash.
  return script
    .replaceAll("PROGRAM_ID", program.replaceAll("-", "_"))
    .replaceAll("PROGRAM", program);
}
