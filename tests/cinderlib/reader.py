"""A process of its own that reads a store through the plugin: ``python -m … PATH``.

Each line of its input is ``[method, args, kwargs]``; it answers each with a line, what the
method returned as cinderlib's JSON.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import cinderlib  # noqa: E402  # the warnings that are ignored are of its imports

from filestore.integrations.cinderlib import FilestorePersistence  # noqa: E402


def main(path: str) -> None:
    cinderlib.setup(persistence_config={"storage": FilestorePersistence, "path": path})
    persistence = cinderlib.Backend.persistence
    for line in sys.stdin:
        method, args, kwargs = json.loads(line)
        found = getattr(persistence, method)(*args, **kwargs)
        print(json.dumps([answer(each) for each in found]), flush=True)


def answer(resource):
    if isinstance(resource, cinderlib.KeyValue):
        return {"class": "KeyValue", "key": resource.key, "value": resource.value}
    return resource.json


if __name__ == "__main__":
    main(*sys.argv[1:])
