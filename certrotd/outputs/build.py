"""The output of a configuration entry; a type's module is loaded when one of it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from certrotd.config.output import BaseOutputEntry
from certrotd.config.outputs import (
    AgeIdentitiesEntry,
    DotenvEntry,
    FernetListEntry,
    JsonKeyEntry,
    JsonKeystoreEntry,
    KeyListEntry,
    KubernetesEncryptionEntry,
    OutputEntry,
    TemplateEntry,
    TinkEntry,
    TomlEntry,
    YamlCiphersEntry,
)
from certrotd.errors import NeedsOperator
from certrotd.files.reading import read_file
from certrotd.keyring.material import Algorithm, Material
from certrotd.outputs.encodings import KeyEncoding, printable_material
from certrotd.outputs.errors import NotDeliverable
from certrotd.outputs.files import OutputFiles
from certrotd.outputs.port import Output, Placed

_WSO2 = frozenset({Algorithm.AES_128_GCM, Algorithm.AES_192_GCM, Algorithm.AES_256_GCM})


@dataclass(frozen=True)
class Chance:
    """Where outputs draw from: ``below`` as secrets.randbelow, ``random`` as os.urandom."""

    below: Callable[[int], int]
    random: Callable[[int], bytes]


def output_of(entry: OutputEntry, *, algorithm: Algorithm, chance: Chance) -> Output:
    """The output of an entry, for keys of ``algorithm``.

    Raises NotDeliverable where it holds no such keys; a template is read here, and NeedsOperator
    raised where it cannot be.
    """
    output = _built(entry, algorithm, chance)
    if algorithm not in output.traits.algorithms:
        raise NotDeliverable(
            f"an output of type {entry.type} holds no {algorithm} keys",
            hint=f"it holds {', '.join(sorted(output.traits.algorithms))}",
        )
    return output


def new_material(outputs: Iterable[Output], algorithm: Algorithm, chance: Chance) -> Material:
    """A new key that all of ``outputs`` can hold: of letters and digits where one is text.

    A passphrase is text wherever it stands.
    """
    if algorithm is Algorithm.PASSPHRASE or any(each.traits.printable for each in outputs):
        return printable_material(algorithm.key_bytes, chance.below)
    return Material(chance.random(algorithm.key_bytes))


def new_iv(outputs: Iterable[Output], chance: Chance) -> bytes:
    """The fixed initialization vector of a new key, empty where no output needs one."""
    return chance.random(max((output.traits.iv_bytes for output in outputs), default=0))


def files_of(entry: BaseOutputEntry, output: Placed) -> OutputFiles:
    """The files of an output as its entry wants them."""
    return OutputFiles(
        output,
        owner=None if entry.owner is None else str(entry.owner),
        group=None if entry.group is None else str(entry.group),
        mode=entry.mode,
        in_place=entry.in_place,
    )


def _built(entry: OutputEntry, algorithm: Algorithm, chance: Chance) -> Output:
    match entry:
        case TinkEntry():
            from certrotd.outputs.tink import TinkKeyset

            return TinkKeyset(entry.place, chance.below)
        case JsonKeystoreEntry():
            from certrotd.outputs.json_keystore import JsonKeystore

            return JsonKeystore(entry.place)
        case DotenvEntry():
            return _dotenv(entry, algorithm)
        case TomlEntry():
            return _toml(entry, algorithm)
        case YamlCiphersEntry():
            from certrotd.outputs.yaml_ciphers import YamlCiphers

            where = entry.place, entry.environment, entry.key_directory, entry.stem
            return YamlCiphers(*where, chance.random)
        case FernetListEntry():
            from certrotd.outputs.fernet_list import FernetList

            separator = "," if entry.separator == "comma" else "\n"
            return FernetList(entry.place, separator, entry.variable)
        case AgeIdentitiesEntry():
            from certrotd.outputs.age_identities import AgeIdentities

            return AgeIdentities(entry.place)
        case KeyListEntry():
            return _key_list(entry, algorithm)
        case JsonKeyEntry():
            return _json_key(entry, algorithm)
        case KubernetesEncryptionEntry():
            from certrotd.outputs.kubernetes_encryption import KubernetesEncryption

            return KubernetesEncryption(entry.place, entry.provider, entry.resources)
        case TemplateEntry():
            return _template(entry, algorithm)


def _dotenv(entry: DotenvEntry, algorithm: Algorithm) -> Output:
    from certrotd.outputs.dotenv import DotenvKeys, DotenvSlots
    from certrotd.outputs.key_text import KeyText

    keys = KeyText(frozenset({algorithm}), KeyEncoding(entry.encoding), entry.prefix)
    if entry.slots is not None and entry.version is not None:
        return DotenvSlots(entry.place, entry.slots, entry.version, keys)
    assert entry.key is not None, "the entry has one of both"
    return DotenvKeys(
        entry.place,
        entry.key,
        entry.previous,
        keys,
        separator=entry.separator,
        capacity=entry.capacity,
        secondary=entry.reads_secondary,
    )


def _toml(entry: TomlEntry, algorithm: Algorithm) -> Output:
    from certrotd.outputs.key_text import KeyText
    from certrotd.outputs.toml import TomlKeys

    encoding = KeyEncoding(entry.encoding)
    # WSO2 tells the size of a key by its length, so old and new ones may differ
    known = _WSO2 if encoding is KeyEncoding.WSO2 else frozenset({algorithm})
    names = entry.table, entry.key, entry.previous
    return TomlKeys(entry.place, *names, KeyText(known, encoding), entry.reads_secondary)


def _key_list(entry: KeyListEntry, algorithm: Algorithm) -> Output:
    from certrotd.outputs.key_list import KeyList
    from certrotd.outputs.key_text import KeyText

    keys = KeyText(frozenset({algorithm}), KeyEncoding(entry.encoding), entry.prefix)
    return KeyList(entry.place, entry.at, keys, first=entry.encrypts == "first")


def _json_key(entry: JsonKeyEntry, algorithm: Algorithm) -> Output:
    from certrotd.outputs.json_key import JsonKey
    from certrotd.outputs.key_text import KeyText

    keys = KeyText(frozenset({algorithm}), KeyEncoding(entry.encoding), entry.prefix)
    return JsonKey(entry.place, entry.at, keys)


def _template(entry: TemplateEntry, algorithm: Algorithm) -> Output:
    from certrotd.outputs.template import MAX_SOURCE, Template

    try:
        source = read_file(entry.template, limit=4 * MAX_SOURCE).decode("utf-8")
    except FileNotFoundError:
        raise NeedsOperator(f"the template {entry.template} does not exist") from None
    except UnicodeDecodeError:
        raise NeedsOperator(f"the template {entry.template} is not UTF-8") from None
    return Template(
        entry.place,
        source,
        str(entry.template),
        algorithm,
        capacity=entry.capacity,
        secondary=entry.reads_secondary,
    )
