"""Every type of output, with an application's file around its keys and keys that it can hold."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st

from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.outputs.age_identities import AgeIdentities
from certrotd.outputs.dotenv import DotenvKeys, DotenvSlots
from certrotd.outputs.encodings import KeyEncoding, printable_material
from certrotd.outputs.fernet_list import FernetList
from certrotd.outputs.json_key import JsonKey
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.key_list import KeyList
from certrotd.outputs.key_text import KeyText
from certrotd.outputs.kubernetes_encryption import KubernetesEncryption
from certrotd.outputs.port import Contents, Output, Present
from certrotd.outputs.template import Template
from certrotd.outputs.tink import TinkKeyset
from certrotd.outputs.toml import TomlKeys
from certrotd.outputs.yaml_ciphers import YamlCiphers

OWN = "¶"
FILE = Path("/etc/app/keys")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def bits(seed: int = 1) -> Callable[[int], bytes]:
    """Random bytes that are the same in every run."""
    return random.Random(seed).randbytes


@dataclass(frozen=True)
class Case:
    """``around``: what an application has in its first file, with a key or without.

    Between two ¶ of each stands what is the keyring's own, or where it may be put. ``most`` keys
    at most are delivered in tests; ``material`` makes a key that the form can hold.
    """

    name: str
    make: Callable[[], Output]
    around: Sequence[str] = ()
    most: int = 5
    material: Callable[[random.Random, int], bytes] = lambda rng, size: rng.randbytes(size)
    algorithms: Sequence[Algorithm] = field(default=())

    @property
    def path(self) -> Path:
        """The first path."""
        return self.make().paths({})[0]

    @property
    def files(self) -> Sequence[bytes]:
        """What may stand in the first file."""
        return [text.replace(OWN, "").encode() for text in self.around]

    def foreign(self, index: int) -> re.Pattern[bytes]:
        """Whatever may become of one of ``around``."""
        parts = self.around[index].split(OWN)
        foreign = [re.escape(part.encode()) for part in parts[::2]]
        return re.compile(b"(?s:.*)".join(foreign) + b"\\Z")

    def __str__(self) -> str:
        return self.name


def delivery_of(
    output: Output,
    count: int,
    *,
    active: int | None = None,
    secondary: bool = False,
    seed: int = 1,
    material: Callable[[random.Random, int], bytes] = lambda rng, size: rng.randbytes(size),
    algorithms: Sequence[Algorithm] = (),
) -> Delivery:
    """``count`` keys of the output; the last one or, if that is ``secondary``, the one before it
    encrypts, unless ``active`` (from 1) does."""
    rng, traits = random.Random(seed), output.traits
    usable = sorted(algorithms or traits.algorithms)
    keys: list[Delivered] = []
    for version in range(1, count + 1):
        algorithm = usable[rng.randrange(len(usable))]
        made, key_id = Material(material(rng, algorithm.key_bytes)), ""
        if traits.ids is not None:
            key_id = traits.ids.pick([each.key.id for each in keys], ())
        key = DataKey(version, algorithm, made, key_id, rng.randbytes(traits.iv_bytes))
        created = BEGIN + timedelta(days=version, milliseconds=version)
        keys.append(Delivered(key, State.DECRYPT_ONLY, created))
    encrypting = active or (count - 1 if secondary else count)
    states = {encrypting: State.ACTIVE} | ({count: State.SECONDARY} if secondary else {})
    keys = [
        Delivered(each.key, states.get(each.key.version, each.state), each.created) for each in keys
    ]
    return Delivery("app", keys, encrypting)


def deliveries(case: Case) -> st.SearchStrategy[Delivery]:
    """Whatever a keyring may deliver to this output."""
    output = case.make()
    most = min(case.most, output.traits.capacity or case.most)

    @st.composite
    def some(pick: st.DrawFn) -> Delivery:
        count = pick(st.integers(1, most))
        active = pick(st.integers(1, count))
        secondary = output.traits.secondary and active < count and pick(st.booleans())
        return delivery_of(
            output,
            count,
            active=active,
            secondary=secondary,
            seed=pick(st.integers(0, 2**32)),
            material=case.material,
            algorithms=case.algorithms,
        )

    return some()


def applied(present: Present, contents: Contents) -> Mapping[Path, bytes | None]:
    """What stands after ``contents`` were written."""
    return {**present, **contents}


def letters(rng: random.Random, size: int) -> bytes:
    """A key that is text."""
    return printable_material(size, rng.randrange).reveal()


SECRETBOX = KeyText(frozenset({Algorithm.XSALSA20_POLY1305}), KeyEncoding.BASE64)
LARAVEL = KeyText(frozenset({Algorithm.AES_256_CBC}), KeyEncoding.BASE64, "base64:")
HEX = KeyText(frozenset({Algorithm.AES_256_GCM}), KeyEncoding.HEX)
TEXT = KeyText(frozenset({Algorithm.AES_256_GCM}), KeyEncoding.TEXT)
PASSPHRASE = KeyText(frozenset({Algorithm.PASSPHRASE}), KeyEncoding.TEXT)
GCM = frozenset({Algorithm.AES_128_GCM, Algorithm.AES_192_GCM, Algorithm.AES_256_GCM})
WSO2 = KeyText(GCM, KeyEncoding.WSO2)
SLOTS = {"v1": "PSAP_KEY_V1", "v2": "PSAP_KEY_V2"}
RAILS = ("active_record_encryption", "primary_key")
TEMPLATE = """# keys of {{ keyring }}, {{ hash }}
{% for key in keys %}{{ key.id }} {{ key.state }} {{ key.base64 }}{% if key.active %} *{% endif %}
{% endfor %}"""
ENV = """\
# the application
APP_NAME="My App"
export DEBUG=false # quoted: 'no'
EMPTY=
MULTI="first
KEY=not this
last"
URL='postgres://x:y@h/db'
"""
DEPLOYMENT = """\
# WSO2
[server]
hostname = "localhost" # here

[encryption] # keys
¶¶algorithm = "AES/GCM/NoPadding"

[[resource]]
key = "of another table"
ports = [ 1, 2.5, nan ]
"""
RAILS_FILE = """\
# credentials
secret_key_base: abcd  # not this one
active_record_encryption:
  deterministic_key: "xyz"
  # the keys
  primary_key:¶ []¶  # the last encrypts
  key_derivation_salt: salt

other: {list: [1, two]}
"""
APISERVER = """\
---
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [configmaps]
    providers:
      - identity: {}
  - resources:
      - secrets
    providers:
      - secretbox:
          keys:   # the newest is the first
            ¶[]¶
      - aescbc:
          keys:
            - {name: old, secret: c2VjcmV0}
      - identity: {}  # what is not encrypted yet
"""
OLD = "0123456789abcdef0123456789abcdeX"
BOX = f"{{name: key1, secret: '{'A' * 43}='}}"


def crlf(text: str) -> str:
    """``text`` as Windows has it."""
    return text.replace("\n", "\r\n")


CASES = [
    Case("tink", lambda: TinkKeyset(FILE, random.Random(7).randrange)),
    Case("json-keystore", lambda: JsonKeystore(FILE)),
    Case(
        "dotenv-slots",
        lambda: DotenvSlots(FILE, SLOTS, "PSAP_KEY_VERSION", SECRETBOX),
        around=(
            f"{ENV}¶¶",
            crlf(f"{ENV}¶¶"),
            f"{ENV}PSAP_KEY_V2='¶¶' # b\nLAST=1\n¶¶",
            "A=1¶¶",
        ),
    ),
    Case(
        "dotenv-many-slots",
        lambda: DotenvSlots(FILE, {f"k{n}": f"KEY_{n}" for n in range(4)}, "KEY_ID", HEX),
    ),
    Case(
        "dotenv-list",
        lambda: DotenvKeys(FILE, "APP_KEY", "APP_PREVIOUS_KEYS", LARAVEL),
        around=(f"{ENV}¶¶", "APP_KEY=¶¶ # none\nexport APP_PREVIOUS_KEYS = '¶¶'  # none\nX=1\n"),
    ),
    Case(
        "dotenv-two",
        lambda: DotenvKeys(FILE, "NEW_KEY", "OLD_KEY", HEX, capacity=2, secondary=False),
        around=(f"{ENV}¶¶",),
    ),
    Case("dotenv-one", lambda: DotenvKeys(FILE, "SECRET_KEY", None, TEXT), material=letters),
    Case(
        "toml",
        lambda: TomlKeys(FILE, "encryption", "key", "old_key", WSO2, secondary=True),
        around=(
            DEPLOYMENT,
            crlf(DEPLOYMENT),
            DEPLOYMENT.replace("¶¶", "¶  old_key = '' ¶# none\nkey='¶¶'\n¶¶"),
            "[a]\nb = 1¶¶",
        ),
        material=letters,
    ),
    Case(
        "toml-one",
        lambda: TomlKeys(FILE, "a.b", "key", None, HEX),
        around=("[a]\nc = 1\n¶¶",),
    ),
    Case(
        "yaml-ciphers",
        lambda: YamlCiphers(FILE, "production", Path("/etc/app/enc"), "app", bits()),
        most=3,
    ),
    Case(
        "age-identities",
        lambda: AgeIdentities(FILE),
        around=("# whose keys these are\n\n¶¶",),
    ),
    Case("fernet-list", lambda: FernetList(FILE), around=("¶¶\n",)),
    Case("fernet-lines", lambda: FernetList(FILE, "\n")),
    Case(
        "fernet-variable",
        lambda: FernetList(FILE, variable="AIRFLOW__CORE__FERNET_KEY"),
        around=(f"{ENV}¶¶",),
    ),
    Case(
        "key-list",
        lambda: KeyList(FILE, RAILS, PASSPHRASE),
        around=(
            RAILS_FILE,
            RAILS_FILE.replace(" []", ""),
            RAILS_FILE.replace("¶ []¶", f"\n  ¶- {OLD}¶"),
            RAILS_FILE.replace("¶ []¶", f"\n    ¶- '{OLD}'¶"),
            RAILS_FILE.replace(" []", f" {OLD}"),
            "a: 1¶¶",
        ),
        material=lambda rng, size: letters(rng, size + rng.randrange(-20, 200)),
    ),
    Case(
        "json-key",
        lambda: JsonKey(FILE, ("keys", "own"), PASSPHRASE),
        around=(
            '{\n\t"a": "é",\n\t"keys": {\n\t\t"own":¶ ""¶,\n\t\t"b": [1]\n\t}\n}',
            f'{{"keys": {{"own": ¶"{OLD}"¶}}}}',
        ),
        material=letters,
    ),
    Case("key-list-first", lambda: KeyList(FILE, ("keys",), HEX, first=True)),
    Case(
        "kubernetes",
        lambda: KubernetesEncryption(FILE, "secretbox", ("secrets",)),
        around=(
            APISERVER,
            crlf(APISERVER),
            APISERVER.replace("[]", f"- {BOX}"),
            APISERVER.replace("[]", f"[{BOX}]"),
        ),
    ),
    Case("kubernetes-cbc", lambda: KubernetesEncryption(FILE, "aescbc", ("secrets", "configmaps"))),
    Case("template", lambda: Template(FILE, TEMPLATE, "keys.j2", Algorithm.AES_256_GCM)),
    Case("template-one", lambda: Template(FILE, "{{ active.hex }}\n", "k", Algorithm.FERNET, 1)),
]
