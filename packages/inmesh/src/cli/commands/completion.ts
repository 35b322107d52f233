/** `inmesh completion <shell>`: a script that asks `inmesh __complete` what may come next. */
import { loadSuggest, type Options, type Parsed } from "../arguments.ts";
import type { Context } from "../command.ts";
import { EXIT, UsageFailure, type ExitCode } from "../failure.ts";

/** Each gets the words up to the cursor, prints `candidate<tab>meaning` lines, and falls back to files where asked. */
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `# For this shell: source <(inmesh completion bash)
# For all: inmesh completion bash > ~/.local/share/bash-completion/completions/inmesh
_inmesh() {
  local IFS=$'\\n' line current="\${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=()
  for line in $(inmesh __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
    if [ "$line" = ":file" ]; then
      COMPREPLY+=($(compgen -f -- "$current"))
      compopt -o filenames
    else
      COMPREPLY+=("\${line%%$'\\t'*}")
    fi
  done
}
complete -F _inmesh inmesh`,
  zsh: `#compdef inmesh
# For this shell: source <(inmesh completion zsh)
# For all: inmesh completion zsh > "\${fpath[1]}/_inmesh"
_inmesh() {
  local line
  local -a found
  for line in "\${(@f)$(inmesh __complete "\${words[@]:1:CURRENT-1}" 2>/dev/null)}"; do
    if [[ "$line" = ":file" ]]; then
      _files
    elif [[ -n "$line" ]]; then
      found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    fi
  done
  (( \${#found} )) && _describe inmesh found
}
if [ "\${funcstack[1]}" = "_inmesh" ]; then
  _inmesh "$@"
else
  compdef _inmesh inmesh
fi`,
  fish: `# For this shell: inmesh completion fish | source
# For all: inmesh completion fish > ~/.config/fish/completions/inmesh.fish
function __inmesh_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (inmesh __complete $words[2..-1] 2>/dev/null)
        if test "$line" = ":file"
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c inmesh -f -a '(__inmesh_complete)'`,
};

export async function run(
  { positionals }: Parsed<Options>,
  { output }: Context,
): Promise<ExitCode> {
  const shell = positionals[0]!;
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (script === undefined) {
    const suggest = await loadSuggest();
    throw new UsageFailure([
      `<shell> ${JSON.stringify(shell)} ${suggest(shell, Object.keys(SCRIPTS))}`,
    ]);
  }
  output.line(script);
  return EXIT.ok;
}
