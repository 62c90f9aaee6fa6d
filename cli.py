"""The command line: each command parses, calls one library function, and prints.

Heavy imports stand inside the commands, so that ``mer --help`` answers at once.
Exit codes: 0 all well, 1 some clips failed or are damaged, 2 wrong usage or input, 130 interrupted.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from pipeline.weights.locate import LocatedWeights
    from training.config import TrainConfig
    from training.runs.machine import Machine

app = typer.Typer(
    name="mer",
    help="Micro-expression recognition: raw dataset -> verified store -> result that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich's Markdown takes longer than all the rest of --help
)
models_app = typer.Typer(help="Weights of the neural backends.", no_args_is_help=True)
app.add_typer(models_app, name="models")
model_app = typer.Typer(help="Networks that can be trained.", no_args_is_help=True)
app.add_typer(model_app, name="model")

Root = Annotated[Path, typer.Argument(help="dataset folder, its parent, its image folder, or a video file")]
StorePlace = Annotated[str, typer.Argument(metavar="STORE", help="a store of `mer preprocess`: a folder, a zip, a URL")]
DatasetOption = Annotated[str | None, typer.Option(help="dataset name, where detection is ambiguous")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
ModelsDir = Annotated[
    Path | None, typer.Option(envvar="MER_MODELS", help="folder of weights, for machines without a network")
]


StoresOption = Annotated[list[str], typer.Option("--store", help="a store; several for composite tasks")]
RunOption = Annotated[Path | None, typer.Option(help="run folder to write  [default: <model>-<stores>]")]
ModelOption = Annotated[str | None, typer.Option(help="name of the model  [default: madv_net]")]
ProtocolOption = Annotated[
    str | None, typer.Option(help="e.g. loso, casme2-5/kfold-10, megc2019, or a TOML file  [default: by store]")
]
RecipeOption = Annotated[
    Literal["paper", "fast", "native"],
    typer.Option(help="paper; fast: small frames, small model, few epochs; native: as the model's authors train it"),
]
TrainConfigOption = Annotated[Path | None, typer.Option(help="TOML file that sets the same fields; options win")]
SeedsOption = Annotated[int | None, typer.Option(min=1, help="runs, with the seeds 0, 1, ...  [default: by recipe]")]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="of each fold  [default: by recipe]")]
FramesOption = Annotated[int | None, typer.Option(help="sampled from each clip  [default: by recipe]")]
TrainSizeOption = Annotated[int | None, typer.Option(help="side of the frames, px  [default: by recipe]")]
AmpOption = Annotated[str | None, typer.Option(help="auto, off, fp16 or bf16  [default: auto]")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda")]
CacheOption = Annotated[
    Literal["ram", "device", "none"], typer.Option(help="keep decoded clips in ram, on the device, or none")
]
FoldWorkersOption = Annotated[
    int | None, typer.Option(min=0, help="folds at once; 0: one, in this process  [default: as the machine allows]")
]
SchedulerOption = Annotated[str | None, typer.Option(help="address of a Dask scheduler, tcp://host:port")]
WithoutOption = Annotated[str | None, typer.Option(help="leave out texture, depth or au_frames")]
OutStore = Annotated[Path, typer.Option("--out", "-o", help="the store to write; nothing may be there yet")]
TrainedRun = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder of `mer train`")]
FoldOption = Annotated[str | None, typer.Option(help="of this fold alone  [default: all; export: the first]")]
SeedOption = Annotated[int | None, typer.Option(help="of this seed alone  [default: all; export: the first]")]
WorkersOption = Annotated[
    int | None, typer.Option(min=0, help="worker processes; 0: in this one  [default: as cores and memory allow]")
]
PretrainOption = Annotated[
    str | None, typer.Option(help="a store to learn from first (SMIC in the paper), or a run of `mer pretrain`")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(help="published weights to start from, as `mer models list` names them; several with commas"),
]
OverwriteRunOption = Annotated[bool, typer.Option("--overwrite", help="replace the run that is there")]
OverwriteRunsOption = Annotated[bool, typer.Option("--overwrite", help="replace the runs that are there")]
PartialOption = Annotated[
    bool, typer.Option("--partial", help="accept stores without the published number of clips; the result says so")
]


def main() -> None:
    """Entry point: errors meant for the user are printed without a traceback, with exit code 2."""
    from schemas.errors import MerError

    try:
        app()
    except MerError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from error


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"mer {version('madv-mer')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


@app.command()
def scan(root: Root, dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """Look at a raw dataset without processing it: clips, labels against the expected counts, every finding."""
    from pipeline.datasets import scan_dataset
    from pipeline.inspect.scan import scan_exit_code, scan_json, scan_report

    _, found = scan_dataset(root, dataset)
    if as_json:
        print(json.dumps(scan_json(found), ensure_ascii=False))
    else:
        _console().print(scan_report(found))
    raise typer.Exit(scan_exit_code(found))


@app.command()
def preprocess(
    root: Root,
    out: Annotated[Path | None, typer.Option(help="the store to write  [default: <dataset>.zarr]")] = None,
    dataset: DatasetOption = None,
    size: Annotated[int | None, typer.Option(help="side of the aligned crops, px  [default: 224]")] = None,
    depth: Annotated[
        str | None,
        typer.Option(help="depth-anything-v2-small|-base|-large, mesh or none  [default: depth-anything-v2-small]"),
    ] = None,
    depth_size: Annotated[int | None, typer.Option(help="input side of Depth Anything, px  [default: 518]")] = None,
    au: Annotated[str | None, typer.Option(help="py-feat or mesh  [default: py-feat]")] = None,
    au_frames: Annotated[
        str | None, typer.Option(help="apex (onset and apex) or all (every frame too)  [default: apex]")
    ] = None,
    apex: Annotated[
        str | None, typer.Option(help="estimate a missing apex by motion or middle  [default: motion]")
    ] = None,
    subjects: Annotated[str | None, typer.Option(help="only these subjects, separated by commas")] = None,
    clips: Annotated[str | None, typer.Option(help="only these clips (names or keys), separated by commas")] = None,
    limit: Annotated[int | None, typer.Option(help="only the first N of them")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file that sets the same fields; options win")] = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    device: DeviceOption = "auto",
    models_dir: ModelsDir = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the store that is there")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="try the failed clips of a complete store again")
    ] = False,
) -> None:
    """Turn a raw dataset into a verified store. Killed half way, the same command goes on."""
    from pipeline.preprocessing.preprocess import preprocess as run
    from schemas.config import Execution
    from schemas.settings import validated

    options = {
        "dataset": dataset,
        "size": size,
        "depth": depth,
        "depth_size": depth_size,
        "au": au,
        "au_frames": au_frames,
        "apex": apex,
        "subjects": subjects and subjects.split(","),
        "clips": clips and clips.split(","),
        "limit": limit,
    }
    execution = {"workers": workers, "scheduler": scheduler, "device": device, "models_dir": models_dir}
    raise typer.Exit(
        run(
            root,
            out=out,
            options={name: value for name, value in options.items() if value is not None},
            config_file=config,
            execution=validated(Execution, execution),
            overwrite=overwrite,
            retry_failed=retry_failed,
            console=_console(),
        )
    )


@app.command()
def inspect(store: StorePlace, as_json: JsonOption = False) -> None:
    """Show what is in a store: clips, labels, sizes, backends, failures, clips worth a look."""
    from pipeline.inspect.inspection import report, summarise
    from schemas.store.reader import Store

    summary = summarise(Store.open(store))
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        _console().print(report(summary))


@app.command()
def verify(
    store: StorePlace,
    deep: Annotated[bool, typer.Option("--deep", help="also decode every clip and check the values")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every byte of a store against its manifest; exit 1 if anything is wrong."""
    from dataclasses import asdict

    from pipeline.inspect.verification import verify as check
    from schemas.store.reader import Store

    problems = check(Store.open(store), deep=deep)
    if as_json:
        print(json.dumps([asdict(problem) for problem in problems], ensure_ascii=False))
    elif problems:
        for problem in problems:
            print(f"{problem.kind}: {problem.path}: {problem.message}")
        print(f"{store}: {len(problems)} problems; copy the store again, or preprocess with --overwrite")
    else:
        print(f"{store}: sound" + (", every clip decodes" if deep else "; --deep also decodes every clip"))
    raise typer.Exit(1 if problems else 0)


@app.command()
def show(
    store: StorePlace,
    clip: Annotated[str, typer.Argument(help="dataset/subject/clip, as `mer inspect` lists it")],
    out: Annotated[Path, typer.Option(help="picture to write: png, pdf or svg")] = Path("clip.png"),
) -> None:
    """Draw one clip: frames, depth, motion, action units of onset and apex."""
    from pipeline.inspect.figures import clip_figure
    from schemas.store.reader import Store

    clip_figure(Store.open(store), clip, out)
    print(out)


@app.command()
def merge(
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="stores of the same config")], out: OutStore
) -> None:
    """Make one store of several, nothing recompressed; clips in more than one must be equal."""
    from pipeline.sharing.merge import merge as combine
    from schemas.store.reader import Store

    manifest = combine([Store.open(store) for store in stores], out)
    print(f"{out}: {len(manifest.clips)} clips, content {manifest.content_sha256}")


@app.command()
def subset(
    store: StorePlace,
    out: OutStore,
    subjects: Annotated[str | None, typer.Option(help="only these subjects, separated by commas")] = None,
    labels: Annotated[str | None, typer.Option(help="only these emotions, separated by commas")] = None,
    where: Annotated[
        str | None, typer.Option(help="only clips like these, e.g. emotion=happiness|surprise,expression_type=micro")
    ] = None,
    without: WithoutOption = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="rename subjects and clips, drop source paths")
    ] = False,
    key: Annotated[
        Path | None, typer.Option(help="file of the secret behind the names, made if missing; else nobody keeps it")
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
        pseudonyms = Pseudonyms.kept(key) if key is not None else Pseudonyms.drawn()
    manifest = take(opened, out, selection=selection, without=left_out, pseudonyms=pseudonyms)
    print(f"{out}: {len(manifest.clips)} of {len(opened.manifest.clips)} clips, content {manifest.content_sha256}")
    if anonymise and "texture" in manifest.arrays:
        print("the texture still shows the faces: --without texture leaves it out", file=sys.stderr)


@app.command()
def diff(
    store: StorePlace,
    other: Annotated[str, typer.Argument(metavar="STORE", help="the store to compare with")],
    as_json: JsonOption = False,
) -> None:
    """Compare two stores by config, versions, clips, labels and hashes; exit 1 if they differ."""
    from dataclasses import asdict

    from pipeline.sharing.diff import diff as compare
    from schemas.store.reader import Store

    differences = compare(Store.open(store), Store.open(other))
    if as_json:
        print(json.dumps([asdict(difference) for difference in differences], ensure_ascii=False))
    else:
        for difference in differences:
            print(f"{difference.kind}: {difference.name}: {difference.mine!r} / {difference.theirs!r}")
        print(f"{len(differences)} differences" if differences else "equal: the same content to the byte")
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
    archive: Annotated[Path, typer.Argument(metavar="FILE.zip", help="made by `mer pack`")],
    out: Annotated[Path | None, typer.Argument(metavar="[STORE]", help="[default: FILE with .zarr]")] = None,
) -> None:
    """Unpack a store, checking every byte; a file that `mer pack` has not made is refused."""
    from pipeline.sharing.pack import unpack as read

    out = out or archive.with_suffix(".zarr")
    manifest = read(archive, out)
    print(f"{out}: {len(manifest.clips)} clips, content {manifest.content_sha256}")


@app.command()
def push(
    store: StorePlace,
    url: Annotated[str, typer.Argument(metavar="URL", help="s3://bucket/name.zarr, gs://, sftp://, a folder, ...")],
    without: WithoutOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="whoever can read there may see the faces")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace another store that is there")] = False,
) -> None:
    """Publish a store: only what differs moves, the manifest last. Killed half way, the same command goes on."""
    from pipeline.sharing.push import push as send
    from pipeline.sharing.subset import clip_arrays, partial
    from schemas.store.reader import Store

    def confirm(question: str) -> bool:
        return yes or (sys.stdin.isatty() and typer.confirm(question))

    with partial(Store.open(store), clip_arrays(without)) as shared:
        done = send(shared, url, confirm=confirm, console=_console(), overwrite=overwrite)
    print(f"{done.url}: {done.objects} objects, {done.bytes / 1e6:.1f} MB pushed, {done.deleted} deleted")


@app.command()
def pull(
    url: Annotated[str, typer.Argument(metavar="URL", help="s3://bucket/name.zarr or .zip, https://, a folder, ...")],
    out: Annotated[
        Path | None, typer.Argument(metavar="[STORE]", help="the store to write  [default: as the URL]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace another store that is there")] = False,
) -> None:
    """Bring a store from a URL, checking every byte; only what is not here moves. Killed half way, it goes on."""
    from pipeline.sharing.pull import pull as fetch

    done = fetch(url, out, console=_console(), overwrite=overwrite)
    content = done.manifest.content_sha256
    print(f"{done.path}: {len(done.manifest.clips)} clips, content {content}, {done.bytes / 1e6:.1f} MB fetched")


@app.command("cite")
def cite_store(store: StorePlace) -> None:
    """Print a store's content id and terms, and BibTeX of the datasets and tools behind it."""
    from pipeline.sharing.cite import cite
    from schemas.store.reader import Store

    print(cite(Store.open(store)))


@app.command()
def synth(
    dataset: Annotated[str, typer.Argument(help="samm, casme2, casme-sq or smic")],
    out: Annotated[Path, typer.Argument(help="folder to write; the truth goes to <out>-truth")],
    subjects: Annotated[int, typer.Option(min=1, help="people, each a real face")] = 4,
    clips: Annotated[int, typer.Option(min=1, help="clips of each")] = 4,
    frames: Annotated[int, typer.Option(min=8, help="frames from onset to offset, on average")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="equal seeds give equal bytes")] = 0,
    layout: Annotated[str | None, typer.Option(help="one of the dataset's on-disk layouts")] = None,
    quirks: Annotated[bool, typer.Option("--quirks", help="with the oddities of the real files")] = False,
) -> None:
    """Write synthetic micro-expressions on real faces, exactly as the dataset lies on disk."""
    from pipeline.synthesis.generator import synthesise

    report = synthesise(
        dataset, out, subjects=subjects, clips=clips, frames=frames, seed=seed, layout=layout, quirks=quirks
    )
    print(f"{out}: {len(report.keys)} clips of {subjects} subjects; truth in {report.truth}")
    print(f"next: mer preprocess {out} --depth mesh --au mesh")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="CSV: clip, fold, seed and one column of probabilities a class")],
    store: Annotated[list[str], typer.Option(help="where the labels are read from; several for composite tasks")],
    protocol: Annotated[
        str | None, typer.Option(help="e.g. megc2019, casme2-5/loso, casme2-5/kfold-10, or a TOML file")
    ] = None,
    partial: PartialOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score anybody's predictions: pooled over folds, beside floors, with intervals over subjects."""
    from schemas.store.location import located
    from training.evaluation.evaluate import evaluate_file
    from training.evaluation.terminal import evaluation_report

    result = evaluate_file(
        predictions, [located(place) for place in store], protocol=protocol, counts="any" if partial else "published"
    )
    if as_json:
        print(json.dumps(result.model_dump(mode="json"), ensure_ascii=False))
    else:
        _console().print(evaluation_report(result))


@app.command()
def train(
    store: StoresOption,
    out: RunOption = None,
    model: ModelOption = None,
    protocol: ProtocolOption = None,
    recipe: RecipeOption = "paper",
    config: TrainConfigOption = None,
    seeds: SeedsOption = None,
    epochs: EpochsOption = None,
    frames: FramesOption = None,
    size: TrainSizeOption = None,
    validation: Annotated[
        float | None,
        typer.Option(help="share of the training subjects to choose the epoch by  [default: the last]"),
    ] = None,
    sampling: Annotated[str | None, typer.Option(help="shuffled or balanced  [default: shuffled]")] = None,
    depth: Annotated[bool, typer.Option("--depth/--no-depth", help="the model's depth path")] = True,
    au: Annotated[bool, typer.Option("--au/--no-au", help="its action unit path")] = True,
    discard: Annotated[bool, typer.Option("--discard/--no-discard", help="discarding of blocks")] = True,
    stage_heads: Annotated[bool, typer.Option("--stage-heads/--no-stage-heads", help="multi-level heads")] = True,
    frame_difference: Annotated[
        bool, typer.Option("--frame-difference/--no-frame-difference", help="inter-frame difference")
    ] = True,
    pretrain: PretrainOption = None,
    weights: WeightsOption = None,
    models_dir: ModelsDir = None,
    partial: PartialOption = False,
    amp: AmpOption = None,
    device: DeviceOption = "auto",
    cache: CacheOption = "ram",
    workers: FoldWorkersOption = None,
    scheduler: SchedulerOption = None,
    overwrite: OverwriteRunOption = False,
) -> None:
    """Train and evaluate a model, leak-free. Killed half way, the same command goes on."""
    from pipeline.clip.mesh.regions import region_masks
    from schemas.store.location import located
    from training.runs.train import train as run

    switches = {
        "depth": depth,
        "au": au,
        "discard": discard,
        "stage_heads": stage_heads,
        "frame_difference": frame_difference,
    }
    options = {
        "model": model,
        "protocol": protocol,
        "seeds": _seeds(seeds),
        "frames": frames,
        "size": size,
        "validation": validation,
        "sampling": sampling,
        "counts": "any" if partial else None,
        "amp": amp,
        "optimisation": epochs and {"epochs": epochs},
        "model_options": {name: False for name, on in switches.items() if not on} or None,
    }
    resolved, machine = _config(recipe, config, options), _machine(device, cache, workers, scheduler)
    resolved, published = _starting(resolved, _published([resolved.model], weights, models_dir))
    stores = [located(place) for place in store]
    default = Path("-".join([resolved.model, *(Path(place.name).stem for place in stores)]))
    raise typer.Exit(
        run(
            stores,
            resolved,
            machine,
            out=out or default,
            pretrain=located(pretrain) if pretrain else None,
            published=published,
            regions=region_masks,
            overwrite=overwrite,
        )
    )


@app.command()
def pretrain(
    store: StoresOption,
    out: Annotated[Path, typer.Option(help="run folder to write")] = Path("pretrained"),
    model: ModelOption = None,
    recipe: RecipeOption = "paper",
    config: TrainConfigOption = None,
    seeds: SeedsOption = None,
    epochs: EpochsOption = None,
    frames: FramesOption = None,
    size: TrainSizeOption = None,
    amp: AmpOption = None,
    device: DeviceOption = "auto",
    cache: CacheOption = "ram",
    workers: FoldWorkersOption = None,
    scheduler: SchedulerOption = None,
    overwrite: OverwriteRunOption = False,
) -> None:
    """Teach a model without labels how hidden blocks of a face moved, for `mer train --pretrain`."""
    from schemas.store.location import located
    from training.runs.train import pretrain as run

    options = {
        "model": model,
        "seeds": _seeds(seeds),
        "frames": frames,
        "size": size,
        "amp": amp,
        "optimisation": epochs and {"epochs": epochs},
    }
    resolved, machine = _config(recipe, config, options), _machine(device, cache, workers, scheduler)
    stores = [located(place) for place in store]
    raise typer.Exit(run(stores, resolved, machine, out=out, overwrite=overwrite))


@app.command()
def ablate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, as of `mer train`, or a run folder")],
    store: StoresOption,
    out: Annotated[Path, typer.Option(help="folder to write a run for each variant into")] = Path("ablation"),
    recipe: RecipeOption = "paper",
    pretrain: PretrainOption = None,
    device: DeviceOption = "auto",
    cache: CacheOption = "ram",
    workers: FoldWorkersOption = None,
    scheduler: SchedulerOption = None,
    overwrite: OverwriteRunsOption = False,
) -> None:
    """Train a model again with each of its paths switched off, and say what each is worth."""
    from pipeline.clip.mesh.regions import region_masks
    from schemas.store.location import located
    from training.fit.folder import RUN_FILE, RunFolder
    from training.runs.ablate import ablate as run

    if (config / RUN_FILE).is_file():
        before = RunFolder(config).read()
        protocol, of_run = before.protocol, before.config.model_dump(mode="json", exclude={"pretrained"})
        resolved = _config("paper", None, of_run)
    else:
        protocol, resolved = None, _config(recipe, config, {})
    machine = _machine(device, cache, workers, scheduler)
    raise typer.Exit(
        run(
            [located(place) for place in store],
            resolved,
            machine,
            out=out,
            protocol=protocol,
            pretrain=located(pretrain) if pretrain else None,
            regions=region_masks,
            overwrite=overwrite,
        )
    )


@app.command()
def compare(
    store: StoresOption,
    models: Annotated[str, typer.Option(help="all, or names with commas between them: madv_net,c3d,stt")] = "all",
    out: Annotated[Path, typer.Option(help="folder to write the comparison and a run of each model into")] = Path(
        "comparison"
    ),
    protocol: ProtocolOption = None,
    recipe: RecipeOption = "paper",
    budget: Annotated[
        str | None, typer.Option(help="the same updates for all models: epochs (20), or what a time allows (45m, 2h)")
    ] = None,
    config: TrainConfigOption = None,
    seeds: SeedsOption = None,
    frames: FramesOption = None,
    size: TrainSizeOption = None,
    weights: WeightsOption = None,
    models_dir: ModelsDir = None,
    partial: PartialOption = False,
    amp: AmpOption = None,
    device: DeviceOption = "auto",
    cache: CacheOption = "ram",
    workers: FoldWorkersOption = None,
    scheduler: SchedulerOption = None,
    overwrite: OverwriteRunsOption = False,
) -> None:
    """Train and evaluate many models under one protocol, and test their differences."""
    from schemas.settings import read_toml
    from schemas.store.location import located
    from training.runs.budget import Budget
    from training.runs.compare import compare as run
    from training.runs.compare import configs_of

    options = {
        "protocol": protocol,
        "seeds": _seeds(seeds),
        "frames": frames,
        "size": size,
        "counts": "any" if partial else None,
        "amp": amp,
    }
    configs = configs_of(models, recipe, read_toml(config), _given(options))
    published = _published(list(configs), weights, models_dir)
    started = {name: _starting(resolved, published) for name, resolved in configs.items()}
    raise typer.Exit(
        run(
            [located(place) for place in store],
            {name: resolved for name, (resolved, _) in started.items()},
            _machine(device, cache, workers, scheduler),
            out=out,
            published={name: file for name, (_, file) in started.items() if file is not None},
            recipe=recipe,
            budget=None if budget is None else Budget.parse(budget),
            overwrite=overwrite,
        )
    )


@app.command()
def report(
    run: TrainedRun,
    store: StoresOption,
) -> None:
    """Make report.html and the figures of a run again."""
    from pipeline.clip.mesh.regions import region_masks
    from schemas.store.reader import Store
    from training.fit.folder import RunFolder
    from training.report.report import write_report

    print(write_report(RunFolder(run), [Store.open(path) for path in store], regions=region_masks))


@app.command()
def predict(
    run: TrainedRun,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="a video, a folder of videos or of image frames, or a store")
    ],
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("predictions"),
    window: Annotated[str, typer.Option(help="length of a window: 0.5s, or 16f for frames (8 at least)")] = "0.5s",
    stride: Annotated[str | None, typer.Option(help="from window to window  [default: half a window]")] = None,
    fps: Annotated[float | None, typer.Option(min=1, help="frames per second, where the frames do not say")] = None,
    fold: FoldOption = None,
    seed: SeedOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    models_dir: ModelsDir = None,
) -> None:
    """Class probabilities for sliding windows over new videos, or for the clips of a store."""
    import time

    from pipeline.preprocessing.cluster import choose_device
    from pipeline.preprocessing.windows import Windowing, preprocess_windows
    from schemas.config import Execution
    from schemas.manifest import MANIFEST_NAME
    from schemas.settings import validated
    from schemas.store.location import located
    from schemas.store.reader import Store
    from training.fit.folder import RunFolder
    from training.inference.output import prediction_report, write_prediction
    from training.inference.predict import Ensemble, predict_store, preprocessing_of

    started = time.monotonic()
    execution = validated(Execution, {"workers": workers, "device": device, "models_dir": models_dir})
    windowing = validated(Windowing, {"window": window, "stride": stride})
    ensemble, console = Ensemble.open(RunFolder(run), fold=fold, seed=seed), _console()
    windows, store = None, located(source)
    if isinstance(store, Path) and store.suffix != ".zip" and not (store / MANIFEST_NAME).is_file():
        store, like = out / "windows.zarr", preprocessing_of(ensemble.run)
        windows = preprocess_windows(
            Path(source), store, like=like, windowing=windowing, execution=execution, console=console, fps=fps
        )
    prediction = predict_store(ensemble, Store.open(store), device=choose_device(execution))
    files = write_prediction(out, prediction, None if windows is None else windows.spans)
    console.print(prediction_report(prediction))
    if windows is not None:
        took = time.monotonic() - started
        print(f"{windows.seconds:.1f} s of video in {took:.1f} s: real-time factor {windows.seconds / took:.2f}")
    for file in files:
        print(file)
    raise typer.Exit(1 if any(prediction.reasons) else 0)


@app.command()
def export(
    run: TrainedRun,
    onnx: Annotated[bool, typer.Option("--onnx", help="as ONNX, so far the only format")] = False,
    out: Annotated[Path | None, typer.Option(help="file to write  [default: RUN/model.onnx]")] = None,
    fold: FoldOption = None,
    seed: SeedOption = None,
) -> None:
    """Write one model of a run, normalisation included, once the file agrees with PyTorch to 1e-4."""
    from training.fit.folder import RunFolder
    from training.inference.export import export_onnx

    if not onnx:
        raise typer.BadParameter("choose a format: --onnx")
    done = export_onnx(RunFolder(run), out or run / "model.onnx", fold=fold, seed=seed)
    print(f"{done.path}: {done.model}; inputs {', '.join(done.inputs)}; differs from PyTorch by {done.difference:.1e}")


def _config(recipe: str, file: Path | None, options: dict[str, Any]) -> "TrainConfig":
    """Config of a training command."""
    from schemas.settings import read_toml
    from training.runs.recipes import resolve

    return resolve(recipe, read_toml(file), _given(options))


def _seeds(count: int | None) -> tuple[int, ...] | None:
    return None if count is None else tuple(range(count))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _published(models: "Sequence[str]", weights: str | None, models_dir: Path | None) -> "dict[str, LocatedWeights]":
    """Model -> the published weights, of those that were named, that it starts from."""
    from pipeline.weights.locate import locate
    from schemas.errors import ConfigError
    from training.models.registry import model_facts

    wanted = [] if weights is None else [name.strip() for name in weights.split(",")]
    chosen = {model: next((s for s in model_facts(model).sources if s in wanted), None) for model in models}
    if unused := [name for name in wanted if name not in chosen.values()]:
        known = {source for model in models for source in model_facts(model).sources}
        raise ConfigError(
            f"--weights {unused[0]}: {', '.join(models)} cannot start from them; "
            + (f"known are {', '.join(sorted(known))}" if known else "no weights are published for that")
        )
    return {model: locate(source, models_dir) for model, source in chosen.items() if source is not None}


def _starting(config: "TrainConfig", published: "Mapping[str, LocatedWeights]") -> "tuple[TrainConfig, Path | None]":
    """The config of a model that starts from published weights, and their file."""
    found = published.get(config.model)
    if found is None:
        return config, None
    return config.model_copy(update={"published": found.record}), found.path


def _machine(
    device: str, cache: Literal["ram", "device", "none"], workers: int | None, scheduler: str | None
) -> "Machine":
    """Where a training command runs."""
    from pipeline.preprocessing.cluster import choose_device, connect
    from schemas.config import Execution
    from schemas.settings import validated
    from training.runs.machine import Machine

    execution = validated(Execution, {"workers": workers, "scheduler": scheduler, "device": device})
    chosen = choose_device(execution)
    here = workers == 0 and scheduler is None
    cluster = None if here else lambda folds: connect(execution, device=chosen, clips=folds)
    return Machine(device=chosen, cluster=cluster, cache=cache, loaders=2, console=_console())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("mer-demo"),
) -> None:
    """Run the whole of it on synthetic clips of real faces and on one real video, in a few minutes."""
    from pipeline.demo import run_demo

    raise typer.Exit(run_demo(out, lambda arguments: app(list(arguments), standalone_mode=False) or 0, _console()))


@models_app.command("list")
def list_models(models_dir: ModelsDir = None, as_json: JsonOption = False) -> None:
    """Show the known weights, and which of them are on this machine."""
    from dataclasses import asdict

    from rich.table import Column, Table

    from pipeline.weights.locate import list_models as listing

    rows = listing(models_dir)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], default=str))
        return
    name = Column("name", min_width=max(len(row.name) for row in rows))  # whole: it is what one types
    table = Table(name, "state", "repository", "revision", "licence", "file")
    for row in rows:
        table.add_row(row.name, row.state, row.repository, (row.revision or "newest")[:12], row.licence, str(row.path))
    _console().print(table)


@models_app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="models, as `mer models list` names them")],
    models_dir: ModelsDir = None,
) -> None:
    """Download weights, into the models folder if there is one."""
    from pipeline.weights.locate import fetch as download

    for name in names:
        located = download(name, models_dir)
        print(f"{located.path}  sha256 {located.record.sha256}")


@models_app.command()
def path(name: Annotated[str, typer.Argument()], models_dir: ModelsDir = None) -> None:
    """Print where a model's weights lie, after fetching them if they are not here yet."""
    from pipeline.weights.locate import locate

    print(locate(name, models_dir).path)


@model_app.command("info")
def model_information(
    name: Annotated[str, typer.Argument(help="name of the model")] = "madv_net",
    frames: Annotated[int, typer.Option(help="of a clip")] = 16,
    size: Annotated[int, typer.Option(help="side of the frames, px")] = 112,
    classes: Annotated[int, typer.Option(min=2)] = 5,
    device: Annotated[str, typer.Option(help="cpu or cuda, to time on")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Count a network's parameters and multiply-accumulates for one clip, and time it."""
    from dataclasses import asdict

    from training.models.registry import model_info

    info = model_info(name, classes=classes, frames=frames, size=size, action_units=20, device=device)
    if as_json:
        print(json.dumps(asdict(info)))
        return
    print(f"{info.name}: {info.parameters / 1e6:.2f} M parameters, {info.macs / 1e9:.2f} GMACs a clip")
    print(f"{frames} frames of {size} px, {info.latency * 1e3:.0f} ms on {info.device} (one clip, float32)")


def _console() -> "Console":
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty())


if __name__ == "__main__":
    main()
