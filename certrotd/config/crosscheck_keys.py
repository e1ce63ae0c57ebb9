"""What no single entry can tell of data keys: references that lead nowhere, paths that collide."""

from collections.abc import Iterator
from pathlib import Path

from certrotd.config.acknowledgements import SOCKET, HeartbeatAcknowledgement
from certrotd.config.base import Loc, shown
from certrotd.config.checked import Checked, ConfigFinding, refers
from certrotd.config.codecs import SymmetricCodecEntry, algorithms_of, codec_name
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.config.file import ConfigFile
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.config.keks import FileKekEntry, KekEntry
from certrotd.config.keyrings import KeyringEntry, SealedEntry
from certrotd.config.kubernetes_datasets import KubernetesDatasetEntry
from certrotd.config.managed_keys import (
    SERVICES,
    ManagedKeyEntry,
    identity_of,
    refused_by_service,
)
from certrotd.config.model import store_dir
from certrotd.config.output import SecretPlace
from certrotd.config.outputs import DotenvEntry, KubernetesEncryptionEntry
from certrotd.config.targets import KubernetesEntry

FEW = 10
"""So many keys at most, and an application is soon full."""


def crosscheck_keys(checked: Checked) -> Iterator[ConfigFinding]:
    """Everything wrong between the entries of data keys, and others."""
    file = _file(checked)
    for name, entry in file.keyrings.items():
        yield from _keks(checked, name, entry)
        yield from _consumers(checked, file, name, entry)
        yield from _backups(file, name, entry)
        yield from _full_outputs(name, entry)
        yield from _algorithms(name, entry)
        yield from _datasets(name, entry)
        yield from _file_datasets(checked, name, entry)
        yield from _cluster_datasets(name, entry)
    yield from _secrets(file)
    yield from _managed_keys(checked, file)
    if file.keyrings and not checked.known("keks") and checked.sure("keks"):
        kek = f"{file.state_dir}/kek"
        if file.state is not None:
            message = f"there is none, and {kek} ends with its pod: no keyring could be read again"
        else:
            message = f"there is none: keyrings are wrapped by {kek}, beside them"
        yield ConfigFinding(("keks",), message, warning=file.state is None)


def _managed_keys(checked: Checked, file: ConfigFile) -> Iterator[ConfigFinding]:
    """KEKs that are not there, or keep no key that can be rotated, or not so often."""
    first: dict[object, str] = {}
    for name, entry in file.managed_keys.items():
        loc: Loc = ("managed_keys", name, "kek")
        yield from refers(checked, "keks", entry.kek, loc)
        kek = file.keks.get(entry.kek)
        other = first.setdefault((kek and identity_of(kek)) or entry.kek, name)
        if other != name:
            message = f"{shown(entry.kek)} is also the key in {{there}}: keep one of them"
            yield ConfigFinding(loc, message, other=("managed_keys", other, "kek"))
        if kek is None:
            continue
        if kek.type not in SERVICES:
            types = f"{', '.join([*SERVICES][:-1])} or {[*SERVICES][-1]}"
            message = f"{shown(entry.kek)} is of type {kek.type}: a managed key is of type {types}"
            yield ConfigFinding(loc, message)
            continue
        if (why := refused_by_service(entry, kek)) is not None:
            yield ConfigFinding(("managed_keys", name, "rotated_by"), why)
        if entry.keep_versions is not None:
            yield from _retention(file, entry, kek, ("managed_keys", name, "keep_versions"))


def _retention(
    file: ConfigFile, entry: ManagedKeyEntry, kek: KekEntry, loc: Loc
) -> Iterator[ConfigFinding]:
    """Versions that cannot be retired, or whose retirement would cost keyrings."""
    if kek.type != "vault":
        message = (
            f"{SERVICES[kek.type]} has no min_decryption_version, by which versions are retired"
        )
        yield ConfigFinding(loc, f"{message}: only a kek of type vault has")
        return
    same = [each for each, other in file.keks.items() if identity_of(other) == identity_of(kek)]
    same.sort(key=lambda each: each != entry.kek)  # whoever reads the entry knows its own name
    for name, keyring in file.keyrings.items():
        sealed = (each for each in keyring.outputs if isinstance(each, SealedEntry))
        named = {*keyring.keks, *(kek for each in sealed for kek in each.keks)}
        if (wrapping := next((each for each in same if each in named), None)) or not keyring.keks:
            of = shown(entry.kek)
            if wrapping is not None and wrapping != entry.kek:
                of = f"{shown(wrapping)} is the same key as {of}, and"
            wraps = f"{of} also wraps the keyring {shown(name)} in {{there}}"
            message = f"{wraps}, which may need a retired version: give it other keks"
            yield ConfigFinding(loc, message, other=("keyrings", name))


def _secrets(file: ConfigFile) -> Iterator[ConfigFinding]:
    """Two outputs in one entry of a Secret, or perhaps: what is null is known where it runs."""
    seen: dict[tuple[object, ...], list[tuple[SecretPlace, Loc]]] = {}
    for name, keyring in file.keyrings.items():
        for position, output in enumerate(keyring.outputs):
            place = output.secret
            if place is None:
                continue
            loc: Loc = ("keyrings", name, "outputs", position)
            others = seen.setdefault((place.kubeconfig, place.name, place.key), [])
            for other, there in others:
                told = ((place.context, other.context), (place.namespace, other.namespace))
                if all(mine == its for mine, its in told):
                    message = f"{place.path} is also written by {{there}}: give each its own entry"
                elif all(mine is None or its is None or mine == its for mine, its in told):
                    message = f"{place.path} may be the entry of {{there}}: write namespace and "
                    message += "context out in both"
                else:
                    continue
                yield ConfigFinding(loc, message, other=there)
                break
            others.append((place, loc))


def written(checked: Checked) -> Iterator[tuple[Loc, Path, str]]:
    """Every path that certrotd writes for data keys, with its place and how it is written."""
    file = _file(checked)
    for name, keyring in file.keyrings.items():
        for position, output in enumerate(keyring.outputs):
            for path in output.paths:
                yield ("keyrings", name, "outputs", position), path, "written"
    for name, kek in file.keks.items():
        if isinstance(kek, FileKekEntry):
            yield ("keks", name, "path"), kek.path, "written"


def _file(checked: Checked) -> ConfigFile:
    file = checked.file
    assert isinstance(file, ConfigFile), "it has data keys"
    return file


def _keks(checked: Checked, name: str, entry: KeyringEntry) -> Iterator[ConfigFinding]:
    """KEKs that are not there, or twice."""
    lists: list[tuple[Loc, tuple[str, ...]]] = [(("keyrings", name, "keks"), entry.keks)]
    lists += [
        (("keyrings", name, "outputs", position, "keks"), output.keks)
        for position, output in enumerate(entry.outputs)
        if isinstance(output, SealedEntry)
    ]
    for where, names in lists:
        for position, kek in enumerate(names):
            loc: Loc = (*where, position)
            yield from refers(checked, "keks", kek, loc)
            if kek in names[:position]:
                yield ConfigFinding(loc, f"{shown(kek)} is in this list already")


def _consumers(
    checked: Checked, file: ConfigFile, name: str, entry: KeyringEntry
) -> Iterator[ConfigFinding]:
    """Targets that are not there or prove certificates alone, and a socket that nobody serves."""
    of_certificates = {
        use.target
        for _, each in checked.entries
        for use in (file.defaults.targets if each.targets is None else each.targets)
    }
    sure = all(loc[0] not in ("certificates", "defaults") for loc in checked.broken)
    for called, consumer in entry.consumers.items():
        loc: Loc = ("keyrings", name, "consumers", called)
        if consumer.target is not None:
            yield from refers(checked, "targets", consumer.target, (*loc, "target"))
            target = file.targets.get(consumer.target)
            if isinstance(target, KubernetesEntry) and (
                target.mode != "restart" or target.mounting
            ):
                message = f"{shown(consumer.target)} does not restart workloads that it names: a "
                message += "consumer takes mode restart, and workloads or a selector"
                yield ConfigFinding((*loc, "target"), message)
            elif (
                isinstance(target, KubernetesEntry)
                and target.pod_probe
                and sure
                and consumer.target not in of_certificates
            ):
                message = "is for certificates, and none uses this target: leave it out"
                yield ConfigFinding(("targets", consumer.target, "pod_probe"), message)
        told = consumer.acknowledge
        socket = isinstance(told, HeartbeatAcknowledgement) and told.heartbeat == SOCKET
        if socket and file.key_server is None and checked.sure("key_server"):
            message = "socket needs key_server, and there is none"
            yield ConfigFinding((*loc, "acknowledge", "heartbeat"), message)


def _full_outputs(name: str, entry: KeyringEntry) -> Iterator[ConfigFinding]:
    """Applications with room for few keys, where nothing ever lets an old one go."""
    for position, output in enumerate(entry.outputs):
        named = isinstance(output, DotenvEntry) and output.slots is not None
        missing = [] if entry.datasets or entry.drains else ["datasets or drains"]
        if named and entry.backup is None:  # a slot is free again once its key is destroyed
            missing.append("backup")
        if output.rooms is not None and 1 < output.rooms <= FEW and missing:
            loc: Loc = ("keyrings", name, "outputs", position)
            message = (
                f"the application holds {output.rooms} keys, and no old one is ever let go: "
                f"once all are in use, rotations wait; add {' and '.join(missing)}"
            )
            yield ConfigFinding(loc, message, warning=True)


def _algorithms(name: str, entry: KeyringEntry) -> Iterator[ConfigFinding]:
    """Applications that hold no keys of the keyring's algorithm."""
    for position, output in enumerate(entry.outputs):
        if output.algorithms and entry.algorithm not in output.algorithms:
            held = " or ".join(output.algorithms)
            message = f"{output.type} holds no {entry.algorithm} keys: set algorithm to {held}"
            yield ConfigFinding(("keyrings", name, "outputs", position), message)


def _datasets(name: str, entry: KeyringEntry) -> Iterator[ConfigFinding]:
    """Values of a form that the keys of the keyring are not for."""
    for called, dataset in entry.datasets.items():
        if isinstance(dataset, SqlDatasetEntry):
            called_codec, taken = codec_name(dataset.codec), algorithms_of(dataset.codec)
        elif isinstance(dataset, FilesDatasetEntry):
            called_codec, taken = dataset.codec, dataset.algorithms
        else:
            continue
        if entry.algorithm not in taken:
            message = f"{called_codec} takes no {entry.algorithm} keys: it takes "
            message += " or ".join(sorted(taken))
            yield ConfigFinding(("keyrings", name, "datasets", called, "codec"), message)
        if isinstance(dataset, SqlDatasetEntry):
            yield from _without_mac(name, called, entry, dataset)


def _without_mac(
    name: str, called: str, entry: KeyringEntry, dataset: SqlDatasetEntry
) -> Iterator[ConfigFinding]:
    """Values that a wrong key can seem to open, and no way to tell the key that they are under."""
    loc: Loc = ("keyrings", name, "datasets", called, "codec")
    what = codec_name(dataset.codec)
    if dataset.by_construction and entry.cutover is None:
        message = f"{what} has no MAC here and names no key: while the application has two, nobody "
        message += "can tell which one a value needs. Add cutover to the keyring"
        yield ConfigFinding(loc, message)
    elif dataset.by_construction and any(each.type == "template" for each in entry.outputs):
        message = f"{what} has no MAC here and names no key, and nobody can read back which key a "
        message += "template has written: use another type of output"
        yield ConfigFinding(loc, message)
    cbc = isinstance(dataset.codec, SymmetricCodecEntry) and entry.algorithm.endswith("-cbc")
    if cbc and not dataset.expects:
        message = f"{what} has no MAC with {entry.algorithm}, and a wrong key can seem to open it: "
        message += "say under expects what the plaintext of each column looks like"
        yield ConfigFinding(loc, message)


def _file_datasets(checked: Checked, name: str, entry: KeyringEntry) -> Iterator[ConfigFinding]:
    """Directories with certrotd's own files in them."""
    file = _file(checked)
    own = [file.state_dir, store_dir(file), *(path for _, path, _ in written(checked))]
    own += [each.backup.directory for each in file.keyrings.values() if each.backup is not None]
    for called, dataset in entry.datasets.items():
        if not isinstance(dataset, FilesDatasetEntry):
            continue
        loc: Loc = ("keyrings", name, "datasets", called)
        for number, root in enumerate(dataset.roots):
            for path in own:
                if path.is_relative_to(root) or root.is_relative_to(path):
                    message = f"{path}, which certrotd writes, is there: choose directories apart"
                    yield ConfigFinding((*loc, "roots", number), message)
                    break


def _cluster_datasets(name: str, entry: KeyringEntry) -> Iterator[ConfigFinding]:
    """Objects of a cluster, of which nothing would say by which key they are written."""
    for called, dataset in entry.datasets.items():
        if not isinstance(dataset, KubernetesDatasetEntry):
            continue
        loc: Loc = ("keyrings", name, "datasets", called)
        outputs = [e for e in entry.outputs if isinstance(e, KubernetesEncryptionEntry)]
        if not outputs:
            message = "no output of type kubernetes-encryption-configuration has the API server's "
            yield ConfigFinding(loc, message + "keys: add it")
        encrypted = {each for output in outputs for each in output.resources}
        for number, resource in enumerate(dataset.resources):
            if outputs and not any("*" in each for each in encrypted) and resource not in encrypted:
                message = f"no output has {resource} among its resources: it is not encrypted"
                yield ConfigFinding((*loc, "resources", number), message)
        confirmed = [each.acknowledge for each in entry.consumers.values()]
        if not confirmed or None in confirmed:
            message = "each API server must confirm that it writes with a new key, before objects "
            message += "are written anew: make each a consumer with acknowledge: {api_server: …}"
            yield ConfigFinding(loc, message)


def _backups(file: ConfigFile, name: str, entry: KeyringEntry) -> Iterator[ConfigFinding]:
    """Backups that would be lost together with what they are backups of."""
    if entry.backup is None:
        return
    loc: Loc = ("keyrings", name, "backup", "directory")
    directory, state = entry.backup.directory, file.state_dir
    elsewhere = "choose another, best on another disk or machine"
    if directory.is_relative_to(state) or state.is_relative_to(directory):
        yield ConfigFinding(loc, f"{directory} is beside the keyrings in {state}: {elsewhere}")
    for path in (path for output in entry.outputs for path in output.paths):
        if directory in (path, path.parent):
            message = f"{directory} is where applications read {path}: {elsewhere}"
            yield ConfigFinding(loc, message)
