"""The commands that make, look at and share stores: each parses, calls one library function, and prints."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from schemas.config import Execution, PreprocessConfig
from schemas.options import Given, Json, console, offered, options
from schemas.progress import Progress
from schemas.words import count

app = typer.Typer(rich_markup_mode=None)
weights_app = typer.Typer(
    help="List, fetch and locate the weights of neural networks.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(weights_app, name="weights")

Root = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", help="A dataset's folder, its parent or its image folder, a video, or a table of clips."
    ),
]
Annotation = Annotated[Path | None, typer.Option(help="The dataset's spreadsheet, instead of the one that is found.")]
StorePlace = Annotated[str, typer.Argument(metavar="STORE", help="A folder, a zip file, or a URL.")]
ClipKey = Annotated[
    str,
    typer.Argument(
        help="Key of the clip, dataset/subject/clip, as `mer inspect` lists it.",
        autocompletion=offered(lambda ctx: _clip_keys(str(ctx.params["store"]))),
    ),
]
OutStore = Annotated[Path, typer.Option("--out", "-o", help="Store to write; nothing may be there yet.")]
Without = Annotated[str | None, typer.Option(help="Leave out texture, depth or au_frames; several with commas.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the store that is there.")]


@app.command()
@options(PreprocessConfig, "dataset", "long")
def scan(
    root: Root,
    annotation: Annotation = None,
    template: Annotated[
        bool, typer.Option("--template", help="Write an example of a table of clips to PATH instead.")
    ] = False,
    as_json: Json = False,
    *,
    given: Given,
) -> None:
    """Look at a raw dataset without processing it: clips, labels against the published counts, every finding."""
    from pipeline.datasets import scan_dataset
    from pipeline.datasets.clip_table import write_template
    from pipeline.inspect.scan import scan_exit_code, scan_json, scan_report

    if template:
        write_template(root)
        print(f"{root}: an example; next: mer scan {root}")
        return
    fields = given.fields(PreprocessConfig)
    _, found = scan_dataset(root, fields.get("dataset"), annotation, long=bool(fields.get("long")))
    if as_json:
        print(json.dumps(scan_json(found), ensure_ascii=False))
    else:
        console().print(scan_report(found))
    raise typer.Exit(scan_exit_code(found))


@app.command()
@options(PreprocessConfig)
@options(Execution)
def preprocess(
    root: Root,
    annotation: Annotation = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Store to write.  [default: <dataset>.zarr]")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file that sets the same fields; options win.")] = None,
    overwrite: Overwrite = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the failed clips of a complete store again.")
    ] = False,
    *,
    given: Given,
) -> None:
    """Turn a raw dataset into a verified store. Killed half way, the same command goes on."""
    from pipeline.preprocessing.preprocess import preprocess as run

    code = run(
        root,
        out=out,
        options=given.fields(PreprocessConfig),
        config_file=config,
        execution=given.make(Execution),
        overwrite=overwrite,
        retry_failed=retry_failed,
        console=console(),
        annotation=annotation,
    )
    raise typer.Exit(code)


@app.command()
def inspect(
    store: StorePlace,
    depth_error: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Judge the depth by another store of these clips, made with measured depth."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is in a store: clips, labels, sizes, backends, failures, clips worth a look."""
    from pipeline.inspect.inspection import report, summarise
    from schemas.store.reader import Store

    if depth_error is not None:
        from pipeline.inspect.depth_error import depth_error_report, depth_errors

        mine, measured = Store.open(store), Store.open(depth_error)
        errors = depth_errors(mine, measured)
        if as_json:
            print(json.dumps([asdict(error) for error in errors]))
        else:
            console().print(depth_error_report(errors, mine, measured))
        return
    summary = summarise(Store.open(store, edited=True))
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        console().print(report(summary))


@app.command()
def verify(
    store: StorePlace,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every clip too, and check the values.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Count files that a file manager dropped into the store as problems too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every byte of a store against its manifest; exit code 1 if anything is wrong."""
    from pipeline.inspect.verification import verify as check
    from schemas.store.reader import Store

    found = check(Store.open(store, edited=True), deep=deep)
    problems = [problem for problem in found if strict or problem.kind != "harmless"]
    if as_json:
        print(json.dumps([asdict(problem) for problem in found], ensure_ascii=False))
    else:
        for problem in problems:
            print(f"{problem.kind}: {problem.path}: {problem.message}")
        if dropped := [problem.path for problem in found if problem not in problems]:
            print(f"extra files, harmless: {', '.join(dropped)}")
        if problems:
            print(f"{store}: {count(len(problems), 'problem')}; copy the store again, or preprocess with --overwrite")
        else:
            print(f"{store}: sound" + (", every clip decodes" if deep else "; --deep also decodes every clip"))
    raise typer.Exit(1 if problems else 0)


@app.command()
def show(
    store: StorePlace,
    clip: ClipKey,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write: png, pdf or svg.")] = Path("clip.png"),
) -> None:
    """Draw one clip: frames, depth, motion, action units of onset and apex."""
    from pipeline.inspect.figures import clip_figure
    from schemas.store.reader import Store

    clip_figure(Store.open(store), clip, out)
    print(out)


def _clip_keys(store: str) -> list[str]:
    from schemas.store.reader import Store

    return [entry.key for entry in Store.open(store).manifest.clips]


@app.command()
def merge(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="Stores of one config.")], out: OutStore
) -> None:
    """Make one store of several without recompressing; clips that are in more than one must be equal."""
    from pipeline.sharing.merge import merge as combine
    from schemas.store.reader import Store

    manifest = combine([Store.open(store) for store in stores], out)
    print(f"{out}: {count(len(manifest.clips), 'clip')}, content {manifest.content_sha256}")


@app.command()
def subset(
    store: StorePlace,
    out: OutStore,
    subjects: Annotated[str | None, typer.Option(help="Keep these subjects, separated by commas.")] = None,
    labels: Annotated[str | None, typer.Option(help="Keep these emotions, separated by commas.")] = None,
    where: Annotated[
        str | None, typer.Option(help="Keep clips like emotion=happiness|surprise,expression_type=micro.")
    ] = None,
    without: Without = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Rename subjects and clips, drop source paths.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option(help="File of the secret behind the names, made if missing; else it is thrown away.")
    ] = None,
) -> None:
    """Copy some clips of a store, or some of its arrays, to a store of its own."""
    from pipeline.sharing.pseudonyms import Pseudonyms
    from pipeline.sharing.selection import Selection
    from pipeline.sharing.subset import clip_arrays
    from pipeline.sharing.subset import subset as take
    from schemas.errors import ConfigError
    from schemas.store.reader import Store

    if key is not None and not anonymise:
        raise ConfigError("--key: names are drawn only with --anonymise")
    selection = Selection.parse(subjects=subjects, labels=labels, where=where)
    opened, left_out = Store.open(store), clip_arrays(without)
    pseudonyms = None
    if anonymise:
        pseudonyms = Pseudonyms.from_file(key) if key is not None else Pseudonyms.random()
    manifest = take(opened, out, selection=selection, without=left_out, pseudonyms=pseudonyms)
    taken = f"{len(manifest.clips)} of {count(len(opened.manifest.clips), 'clip')}"
    print(f"{out}: {taken}, content {manifest.content_sha256}")
    if anonymise and "texture" in manifest.arrays:
        print("the texture still shows the faces: --without texture leaves it out", file=sys.stderr)


@app.command()
def relabel(
    store: StorePlace,
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Columns clip, and emotion, action_units or objective_class.")
    ],
    out: OutStore,
) -> None:
    """Copy a store with the labels that a table gives to some of its clips; the copy records what was changed."""
    from pipeline.sharing.relabel import relabel as write
    from schemas.store.reader import Store

    manifest, changed = write(Store.open(store), table, out)
    print(f"{out}: {changed} of {count(len(manifest.clips), 'clip')} relabelled, content {manifest.content_sha256}")


@app.command()
def diff(
    store: StorePlace,
    other: Annotated[str, typer.Argument(metavar="STORE", help="The store to compare with.")],
    as_json: Json = False,
) -> None:
    """Compare two stores by config, versions, clips, labels and hashes; exit code 1 if they differ."""
    from pipeline.sharing.diff import diff as compare
    from schemas.store.reader import Store

    differences = compare(Store.open(store), Store.open(other))
    if as_json:
        print(json.dumps([asdict(difference) for difference in differences], ensure_ascii=False))
    else:
        for difference in differences:
            print(f"{difference.kind}: {difference.name}: {difference.mine!r} / {difference.theirs!r}")
        print(count(len(differences), "difference") if differences else "equal: the same content to the byte")
    raise typer.Exit(1 if differences else 0)


@app.command()
def pack(
    store: StorePlace,
    out: Annotated[Path | None, typer.Argument(metavar="[FILE.zip]", help="[default: STORE with .zip]")] = None,
) -> None:
    """Put a store into one zip file, which every command reads where it lies."""
    from pipeline.sharing.pack import pack as write
    from schemas.store.location import located
    from schemas.store.reader import Store

    out = out or Path(located(store).name).with_suffix(".zip")
    write(Store.open(store), out)
    print(out)


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(metavar="FILE.zip", help="Made by `mer pack`.")],
    out: Annotated[Path | None, typer.Argument(metavar="[STORE]", help="[default: FILE with .zarr]")] = None,
) -> None:
    """Unpack a store, checking every byte; a file that `mer pack` has not made is refused."""
    from pipeline.sharing.pack import unpack as read

    out = out or archive.with_suffix(".zarr")
    manifest = read(archive, out)
    print(f"{out}: {count(len(manifest.clips), 'clip')}, content {manifest.content_sha256}")


@app.command()
def push(
    store: StorePlace,
    url: Annotated[str, typer.Argument(metavar="URL", help="s3://bucket/name.zarr, gs://, sftp://, or a folder.")],
    without: Without = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask: whoever can read there may see the faces.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another store that is there.")] = False,
) -> None:
    """Publish a store: only what differs moves, the manifest last. Killed half way, the same command goes on."""
    from pipeline.sharing.push import push as send
    from pipeline.sharing.subset import clip_arrays, partial
    from schemas.store.reader import Store

    def confirm(question: str) -> bool:
        return yes or (sys.stdin.isatty() and typer.confirm(question))

    with partial(Store.open(store), clip_arrays(without)) as shared:
        done = send(shared, url, confirm=confirm, console=console(), overwrite=overwrite)
    print(f"{done.url}: {count(done.objects, 'object')}, {done.bytes / 1e6:.1f} MB pushed, {done.deleted} deleted")


@app.command()
def pull(
    url: Annotated[str, typer.Argument(metavar="URL", help="s3://bucket/name.zarr or .zip, https://, or a folder.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="[STORE]", help="Store to write.  [default: named as in the URL]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another store that is there.")] = False,
) -> None:
    """Fetch a store, checking every byte; only what is missing moves. Killed half way, the same command goes on."""
    from pipeline.sharing.pull import pull as fetch

    done = fetch(url, out, console=console(), overwrite=overwrite)
    content = done.manifest.content_sha256
    print(
        f"{done.path}: {count(len(done.manifest.clips), 'clip')}, content {content}, {done.bytes / 1e6:.1f} MB fetched"
    )


@app.command("cite")
def cite_store(store: StorePlace) -> None:
    """Print a store's content id and terms, and BibTeX of the datasets and tools behind it."""
    from pipeline.sharing.cite import cite
    from schemas.store.reader import Store

    print(cite(Store.open(store)))


@app.command()
def synth(
    dataset: Annotated[str, typer.Argument(help="Whose layout: samm, casme2, casme-sq, casme3 (with depth) or smic.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; the truth goes to OUT-truth.")],
    subjects: Annotated[int, typer.Option(min=1, help="People, each a real face.")] = 4,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each, or long recordings.")] = 4,
    frames: Annotated[
        int | None, typer.Option(min=8, help="Frames from onset to offset, on average.  [default: 24]")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of each recording of --layout long.  [default: 30]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed; equal seeds give equal bytes.")] = 0,
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
        if frames is not None or quirks:
            raise ConfigError("--frames and --quirks are of short clips; --layout long has --seconds")
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
            layout=layout,
            quirks=quirks,
            progress=lambda *_: progress.advance(),
        )
    print(f"{out}: {count(len(report.keys), 'clip')} of {count(subjects, 'subject')}; truth in {report.truth}")
    print(f"next: mer preprocess {out} --depth mesh --au mesh")


@app.command()
def demo(
    ctx: typer.Context, out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("mer-demo")
) -> None:
    """Run all of it on synthetic clips of real faces and on one real video, in a few minutes."""
    from pipeline.demo import run_demo

    mer = ctx.find_root().command
    raise typer.Exit(run_demo(out, lambda words: mer.main(list(words), standalone_mode=False) or 0, console()))


@weights_app.command("list")
@options(Execution, "models_dir")
def list_weights(as_json: Json = False, *, given: Given) -> None:
    """Show the known weights, and which of them are on this machine."""
    from rich.table import Column, Table

    from pipeline.weights.locate import list_models

    rows = list_models(given.make(Execution).models_dir)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], default=str))
        return
    name = Column("name", min_width=max(len(row.name) for row in rows))  # whole: it is what one types
    table = Table(name, "state", "repository", "revision", "licence", "file")
    for row in rows:
        table.add_row(row.name, row.state, row.repository, (row.revision or "newest")[:12], row.licence, str(row.path))
    console().print(table)


@weights_app.command()
@options(Execution, "models_dir")
def fetch(
    names: Annotated[list[str], typer.Argument(help="Weights, as `mer weights list` names them.")], *, given: Given
) -> None:
    """Download weights, into the models folder if there is one."""
    from pipeline.weights.locate import fetch as download

    for name in names:
        found = download(name, given.make(Execution).models_dir)
        print(f"{found.path}  sha256 {found.record.sha256}")


@weights_app.command()
@options(Execution, "models_dir")
def path(name: Annotated[str, typer.Argument(help="As of `fetch`.")], *, given: Given) -> None:
    """Print where weights lie, after fetching them if they are not here yet."""
    from pipeline.weights.locate import locate

    print(locate(name, given.make(Execution).models_dir).path)
