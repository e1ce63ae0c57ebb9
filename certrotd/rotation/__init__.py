"""The floor: a rotation as a journaled saga, which knows neither certificates nor keys."""
