"""Who takes part, and how each was configured."""

from functools import partial

from benchmarks.others.ours import open_ours
from benchmarks.others.readers import Airbyte, Script, Tap
from benchmarks.others.tools import POSTS, SYNCS, Tool, on, python_of
from benchmarks.others.writers import Drt, SdkScript

PAGE_OF_1000 = {"contains": "STARTPOSITION 1001"}
PEERS = python_of(".venv-peers")

OURS = "ml-connector"

READERS = (
    Tool(
        OURS,
        "as shipped: CDC, and paging by time of change where CDC is full; the state is its database",
        open_ours,
        {"route": "* */query", "contains": "Bill WHERE"},
        fresh=partial(open_ours, linked=False),
        batch_item={
            "route": "POST */batch",
            "contains": "Bill WHERE",
            "nth": 1,
            "args": {"index": 5, "code": "3001"},
        },
    ),
    Tool(
        "tap-quickbooks",
        "five streams selected; its own page size (1,000), retries and state; what it gives out is loaded by key",
        on(Tap),
        {"route": "POST */batch", **PAGE_OF_1000},
        batch_item={"route": "POST */batch", **PAGE_OF_1000, "nth": 1, "args": {"index": 2, "code": "3001"}},
        environment=".venv-others-tap",
    ),
    Tool(
        "airbyte-source-quickbooks",
        "stream `bills`, incremental, deduplicated; its page size (200); state and new tokens kept as its platform does",
        on(Airbyte),
        {"route": "* */query", "contains": "STARTPOSITION 201"},
        environment=".venv-others-airbyte",
    ),
    Tool(
        "script on python-quickbooks",
        "60 lines: the first run pages by id, later ones ask CDC with five minutes of overlap; new tokens saved first",
        on(Script),
        {"route": "* */query", **PAGE_OF_1000},
        environment=".venv-peers",
    ),
)


PYPROCORE = python_of(".venv-others-pyprocore")
WRITERS = (
    Tool(
        OURS,
        "as shipped: sync actions with an origin id, intents in its database",
        open_ours,
        {},
        writes=SYNCS,
        kills=(1, 2),
    ),
    Tool(
        "drt",
        "one POST a row with an origin id; a cursor, `on_error: skip`, dead letters on; `drt run`, then `drt retry`",
        on(Drt),
        {},
        environment=".venv-others-drt",
        writes=POSTS,
    ),
    Tool(
        "drt, batches",
        "50 rows a call to the sync action with origin ids, the rest as above; headers only, and judged on them",
        on(lambda cell: Drt(cell, in_batches=True)),
        {},
        environment=".venv-others-drt",
        writes=SYNCS,
        kills=(1, 2),
        headers_only=True,
    ),
    Tool(
        "script on pyprocore",
        '60 lines: one POST a bill with an origin id, a state file after each answer, "taken" is done; its three tries',
        on(lambda cell: SdkScript(cell, sdk="pyprocore", python=PYPROCORE)),
        {},
        environment=".venv-others-pyprocore",
        writes=POSTS,
    ),
    Tool(
        "the same, no origin id",
        "as above for expenses, which have no vendor's number that Procore could find taken",
        on(lambda cell: SdkScript(cell, origins=False, sdk="pyprocore", python=PYPROCORE)),
        {},
        environment=".venv-others-pyprocore",
        writes=POSTS,
    ),
    Tool(
        "script on ProPyCore",
        "the same script on its JSON POST; it has no tries of its own",
        on(lambda cell: SdkScript(cell, sdk="ProPyCore", python=PEERS)),
        {},
        environment=".venv-peers",
        writes=POSTS,
    ),
)
