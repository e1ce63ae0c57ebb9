"""What one configuration gives the scheduler to do, from all its wings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

from certrotd.daemon.mount_guard import MountGuard
from certrotd.daemon.wiring import Site
from certrotd.errors import ConfigProblem, Failure
from certrotd.id import Id, id_in
from certrotd.lifecycle.runner import Runner
from certrotd.lifecycle.subject import followers
from certrotd.lifecycle.wing import Terms
from certrotd.scheduling.workload import Workload
from certrotd.state.ports import Changes


def workload_of(
    site: Site,
    runner: Runner,
    changes: Mapping[str, Changes],
    mount_guard: MountGuard,
    *,
    left_out: Sequence[ConfigProblem] = (),
) -> Workload:
    """The workload of a site, of its shard; ``changes`` are those of the state by kind."""
    wings, shard = site.wings, site.home.shard
    subjects = {each.id: each for each in site.inventory.subjects if shard.has(str(each.id))}
    following = followers(subjects.values())
    return Workload(
        subjects=subjects,
        slots={wing.kind: wing.slots for wing in wings},
        rotate=partial(site.inventory.rotate_one, runner=runner),
        in_flight=site.flying,
        terms=Terms(
            tuple(dict.fromkeys(act for wing in wings for act in wing.terms.acts)),
            tuple(dict.fromkeys(kind for wing in wings for kind in wing.terms.findings)),
        ),
        rations={account: of for wing in wings for account, of in wing.rations.items()},
        close=site.close,
        left_out=left_out,
        directories=lambda: mount_guard.trouble() or site.unwritable(),
        full=site.full,
        followers={leader: [each.id for each in of] for leader, of in following.items()},
        journals=site.unlisted,
        changed=lambda: _ids(each.subjects for each in changes.values()),
        woken=lambda: _ids(each.woken for each in changes.values()),
    )


def _ids(kinds: Iterable[Callable[[], Collection[str]]]) -> Iterator[Id]:
    """The subjects that the answers of all kinds spell; then raises what one of them raised.

    An answer is given once: what one kind raises must not lose what another has answered. What is
    no id was put there by somebody else.
    """
    trouble: Failure | OSError | None = None
    for ask in kinds:
        try:
            texts = ask()
        except (Failure, OSError) as error:
            trouble = error
        else:
            yield from (subject for text in texts if (subject := id_in(text)))
    if trouble is not None:
        raise trouble
