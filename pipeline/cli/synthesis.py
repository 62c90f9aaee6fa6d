"""`mer synth`, `demo`."""

from pathlib import Path
from typing import Annotated

import typer

from schemas.options import console, examples
from schemas.progress import Progress
from schemas.words import count

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=examples("mer synth casme2 raw", "mer synth smic raw --subjects 5 --clips 6 --seed 1"))
def synth(
    dataset: Annotated[str, typer.Argument(help="Whose layout: samm, casme2, casme-sq, casme3 (with depth) or smic.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; the truth goes to OUT-truth.")],
    subjects: Annotated[int, typer.Option(min=1, help="People, each a real face.")] = 4,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each, or long recordings.")] = 4,
    looks: Annotated[
        int,
        typer.Option(min=1, help="Faces made of a subject's photograph: shape and skin vary."),
    ] = 1,
    frames: Annotated[
        int | None, typer.Option(min=8, help="Frames from onset to offset, on average.  [default: 24]")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of each recording of --layout long.  [default: 30]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; equal seeds give equal bytes.")] = 0,
    macro: Annotated[
        bool, typer.Option("--macro", help="Macro-expressions (casme-sq): stronger; give them more --frames.")
    ] = False,
    layout: Annotated[
        str | None,
        typer.Option(help="One of the dataset's layouts on disk; long: long videos with few expressions (casme-sq)."),
    ] = None,
    quirks: Annotated[bool, typer.Option("--quirks", help="With the oddities of the real files.")] = False,
) -> None:
    """Write synthetic micro-expressions on real faces, exactly as the dataset lies on disk."""
    from pipeline.synthesis.generator import synthesise
    from pipeline.synthesis.long_recordings import LONG_LAYOUT, synthesise_long
    from schemas.errors import ConfigError

    if layout == LONG_LAYOUT:
        if frames is not None or quirks or macro or looks > 1:
            raise ConfigError("--frames, --looks, --macro and --quirks are of short clips; --layout long has --seconds")
        with Progress(console(), unit="recordings", total=subjects * clips) as progress:
            long = synthesise_long(
                dataset,
                out,
                subjects=subjects,
                recordings=clips,
                seconds=30 if seconds is None else seconds,
                seed=seed,
                progress=lambda *_: progress.advance(),
            )
        expressions = sum(long.emotions.values())
        print(f"{out}: {len(long.keys)} recordings with {expressions} expressions; truth in {long.truth}")
        print(f"next: mer preprocess {out} --long")
        return
    if seconds is not None:
        raise ConfigError("--seconds is the length of long recordings; add --layout long")
    with Progress(console(), unit="clips", total=subjects * clips) as progress:
        report = synthesise(
            dataset,
            out,
            subjects=subjects,
            clips=clips,
            frames=frames or 24,
            seed=seed,
            looks=looks,
            macro=macro,
            layout=layout,
            quirks=quirks,
            progress=lambda *_: progress.advance(),
        )
    print(f"{out}: {count(len(report.keys), 'clip')} of {count(subjects, 'subject')}; truth in {report.truth}")
    print(f"next: mer preprocess {out} --depth {'measured' if report.depth else 'mesh'} --au mesh")


@app.command(epilog=examples("mer demo", "mer demo -o /tmp/mer-demo"))
def demo(
    ctx: typer.Context, out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("mer-demo")
) -> None:
    """Run all of it on synthetic clips of real faces and on one real video, in a few minutes."""
    from pipeline.demo import run_demo

    mer = ctx.find_root().command
    raise typer.Exit(run_demo(out, lambda words: mer.main(list(words), standalone_mode=False) or 0, console()))
