"""The next key of a keyring: what its outputs can hold, with an id that they have room for."""

from __future__ import annotations

from collections.abc import Sequence

from certrotd.errors import NeedsOperator
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import Algorithm, DataKey
from certrotd.outputs.build import Chance, new_iv, new_material
from certrotd.outputs.port import Output


def new_key(
    keyring: Keyring, outputs: Sequence[Output], algorithm: Algorithm, chance: Chance
) -> DataKey:
    """Drawn by ``chance``; raises NoFreeId, and NeedsOperator where no id fits all outputs."""
    spaces = [each.traits.ids for each in outputs if each.traits.ids is not None]
    if len({repr(each) for each in spaces}) > 1:
        raise NeedsOperator(
            f"the outputs of {keyring.name} name keys in different ways",
            hint="give each a keyring of its own, or slots of the same names",
        )
    key_id = spaces[0].pick(keyring.live_ids, keyring.past_ids) if spaces else ""
    material = new_material(outputs, algorithm, chance)
    number = keyring.versions.next_number
    return DataKey(number, algorithm, material, key_id, new_iv(outputs, chance))
