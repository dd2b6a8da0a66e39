"""``criadapt completion``: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options, and names of containers, pods and images.

    \b
    bash:  eval "$(criadapt completion bash)"              in ~/.bashrc
    zsh:   eval "$(criadapt completion zsh)"               in ~/.zshrc
    fish:  criadapt completion fish > ~/.config/fish/completions/criadapt.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    script = found(root.command, {}, "criadapt", "_CRIADAPT_COMPLETE")
    click.echo(script.source_template % script.source_vars())
