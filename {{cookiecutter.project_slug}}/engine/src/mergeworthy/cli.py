"""The verbs behind the Makefile that need Python: `mergeworthy <verb>`.

Each verb imports what it needs when it runs, so that none waits for a library it does not use.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from .errors import MARKERS, UserError, project, run
from .text import say

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def inside() -> None:
    """Run one verb of this project; `make` lists them."""
    if project() is None:
        raise UserError(f"{Path.cwd()} lies in no project: neither it nor a folder above holds {MARKERS[0]}")


@app.command()
def data(
    until: Annotated[str | None, typer.Option(help="newest partition to fetch, e.g. 2013-07")] = None,
    accept: Annotated[str | None, typer.Option(help="take this partition as the source has it now")] = None,
    if_needed: Annotated[bool, typer.Option("--if-needed", help="only if an outdated stage reads it")] = False,
) -> None:
    """Sync data/ with data.dvc, and add the partitions up to UNTIL."""
    from .adapters.dvc import reads_data, stale_stages
    from .data.fetch import fetch

    if not if_needed or reads_data(stale_stages()):
        fetch(until, accept)


@app.command()
def plan() -> None:
    """Print whether any stage would run for this commit, and whether it may run here."""
    from .workflow.plan import run_plan as plan_run

    plan_run()


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def dvc(context: typer.Context) -> None:
    """Run DVC, once its remote has answered."""
    from .adapters.dvc import show

    raise typer.Exit(show(context.args))


@app.command()
def push() -> None:
    """Store data, models and run cache in the DVC remote; exit 1 if something that git records is lost."""
    from .adapters.dvc import push as push_all

    push_all()


@app.command()
def lock() -> None:
    """Commit dvc.lock back to the branch that was trained (CI)."""
    from .workflow.plan import run_lock as lock_run

    lock_run()


@app.command()
def verdict() -> None:
    """Gather the jobs' results into the one required check (CI)."""
    from .workflow.plan import run_required_check as verdict_run

    verdict_run()


@app.command()
def track(
    check: Annotated[bool, typer.Option("--check", help="only ask whether the server can be reached")] = False,
) -> None:
    """Mirror the trained model, its figures and its lineage to MLflow, once."""
    from . import tracking

    tracking.check() if check else tracking.log()


@app.command()
def mlflow() -> None:
    """Serve the recorded runs for a browser."""
    from . import tracking

    tracking.browse()


@app.command()
def gate(
    champion: Annotated[
        str | None, typer.Option(help="commit that is the champion, whose code may be run; default main")
    ] = None,
) -> None:
    """Judge the model against gates.yaml and the champion; exit 1 if it may not be merged."""
    from .adapters.actions import current
    from .gate.run import run as judge

    raise typer.Exit(judge(champion or current().champion).exit_code)


@app.command()
def schema(of: Literal["verdict", "drift"]) -> None:
    """Print the JSON schema of reports/verdict.json or reports/drift.json, for programs that read them."""
    from .drift.decision import Decision
    from .verdict import Verdict

    record = Verdict if of == "verdict" else Decision
    print(json.dumps(record.model_json_schema(), indent=2))


@app.command()
def sweep(
    apply: Annotated[bool, typer.Option("--apply", help="write the best values into params.yaml")] = False,
) -> None:
    """Search over params.yaml as sweep.yaml says; a search that was stopped is resumed."""
    from .extras.sweep import run as search

    search(apply=apply)


@app.command()
def report() -> None:
    """Write reports/report.md: verdict, metrics against the champion, slices, what changed, plots, cost."""
    from .report.sections import run as write

    write()


@app.command()
def comment() -> None:
    """Put the report on the pull request, or in the job's summary (CI)."""
    from .workflow.comment import run as comment_run

    comment_run()


@app.command()
def cml() -> None:
    """Install CML, the program that sends the report, if its digest is the recorded one (CI)."""
    from .workflow.comment import install_cml as install

    install()


@app.command()
def remote() -> None:
    """Check that this job can reach the DVC remote (CI)."""
    from .adapters.dvc import check_remote as check

    check()


@app.command()
def resolve() -> None:
    """Merge the default branch if dvc.lock conflicts, with that branch's lock."""
    from .workflow.plan import run_resolve as merge

    merge()


@app.command()
def image() -> None:
    """Build the service's container from the model on disk."""
    from .release.image import build

    say(build())


@app.command()
def verify_image(
    image: Annotated[str | None, typer.Option(help="another image than the one of this training")] = None,
) -> None:
    """Start the container and check it against gates.yaml; exit 1 if a check blocks."""
    from .release.verify import verify
    from .verdict import print_checks, worst

    results = verify(image)
    print_checks("The image", results)
    raise typer.Exit(int(worst(results) == "block"))


@app.command()
def release(step: Literal["plan", "publish", "sign", "card", "register", "stage", "promote"]) -> None:
    """Run one step of a release; each step can be run again."""
    module, function = {
        "plan": ("promote", "run_plan"),
        "publish": ("publish", "run_publish"),
        "sign": ("publish", "run_sign"),
        "card": ("publish", "run_card"),
        "register": ("publish", "run_register"),
        "stage": ("promote", "run_stage"),
        "promote": ("promote", "run_promote"),
    }[step]
    getattr(import_module(f".release.{module}", __package__), function)()


@app.command()
def status() -> None:
    """Show what runs where, since which commit and by whose merge."""
    from .release.promote import show_status as show

    show()


@app.command()
def drift(until: Annotated[str | None, typer.Option(help="newest partition to look at")] = None) -> None:
    """Compare new data with what the champion learned from; decide: quiet, retrain or broken."""
    from .drift.check import run as examine

    examine(until)


@app.command()
def replay(
    until: Annotated[str | None, typer.Option(help="newest partition to replay")] = None,
    image: Annotated[bool, typer.Option("--image", help="build and verify the container of each new champion")] = False,
) -> None:
    """Backtest the retraining policy on the source's partitions, one after the other."""
    from .extras.backtest import run as again

    again(until, image=image)


@app.command()
def act() -> None:
    """Run ci.yaml itself on this machine, as committed."""
    from .adapters.actions import run_locally as act_run

    raise typer.Exit(act_run())


@app.command()
def retrain() -> None:
    """Open or update the retraining pull request that the drift decision asks for, or close it (CI)."""
    from .workflow.retraining import retrain as propose

    propose()


@app.command()
def watch() -> None:
    """Open an issue if the drift check failed twice in a row (CI)."""
    from .workflow.retraining import watch as look

    look()


@app.command()
def update() -> None:
    """Take over what the template changed since this project was made; in CI, open a pull request with it."""
    from .extras.update import run as take_over

    take_over()


@app.command()
def patches() -> None:
    """Name the files of engine/ that differ from what the template delivered."""
    from .patches import changed, sentence

    say(f"engine: {sentence(changed())}")


@app.command()
def doctor() -> None:
    """Check the runner, the remote, GitHub's settings and the GPU, and print how to fix what is wrong."""
    from .extras.doctor import run as examine

    raise typer.Exit(examine())


@app.command()
def github(
    check: Annotated[bool, typer.Option("--check", help="only show the differences; exit 1 if there is one")] = False,
) -> None:
    """Make the repository on GitHub what .github/settings.yaml says."""
    from .extras.github_settings import run as make

    raise typer.Exit(make(check=check))


@app.command()
def evidence(
    check: Annotated[bool, typer.Option("--check", help="only compare; exit 1 if the page is out of date")] = False,
) -> None:
    """Write docs/evidence.md: which tests of the ML Test Score and parts of MLOps level 2 the project passes."""
    from .extras.evidence import run as write

    write(check=check)


@app.command()
def train() -> None:
    """Run what is out of date, from scratch if gates.yaml says so, and hand the lock to the job that judges (CI)."""
    from .workflow.plan import run_training as train_all

    train_all()


@app.command()
def provenance() -> None:
    """Check that what is restored is what the job `train` wrote (CI)."""
    from .adapters.actions import take_over

    take_over()


@app.command()
def trainjob() -> None:
    """Print the training as a Kubernetes job."""
    from .extras.clusters import print_trainjob

    print_trainjob()


@app.command()
def scan(
    image: Annotated[str | None, typer.Argument(help="another image than the one of this training")] = None,
) -> None:
    """Look the image's packages up among known vulnerabilities; exit 1 if gates.yaml does not accept one."""
    from .release.image import scan as look_up

    look_up(image)


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 1."""
    from .adapters.git import use_repository_of_folder

    use_repository_of_folder()
    run(app)


if __name__ == "__main__":
    main()
