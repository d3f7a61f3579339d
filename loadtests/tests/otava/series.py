"""100 series as histories of load tests are, printed as JSON: {"name": [numbers]}.

Five shapes, twenty of each: noise alone, one step, several steps, ramps that rise in steps, and steps with outliers.
The noise is normal, uniform, log-normal, Laplace or autocorrelated, by turns; lengths go from 12 to 300 runs, and steps
from 2 % to 60 %, so that some are clear and some are at the edge of what can be seen.
"""

import argparse
import json

import numpy as np

SHAPES = ("noise", "step", "steps", "ramp", "outliers")
NOISES = ("normal", "uniform", "lognormal", "laplace", "autocorrelated")
LENGTHS = (12, 25, 40, 50, 60, 75, 100, 150, 200, 300)


def noise(kind, length, spread, generator):
    """Relative, of about the same standard deviation whatever its kind."""
    if kind == "normal":
        return generator.normal(0, spread, length)
    if kind == "uniform":
        return generator.uniform(-1, 1, length) * spread * np.sqrt(3)
    if kind == "lognormal":
        return np.exp(generator.normal(0, spread, length)) - 1
    if kind == "laplace":
        return generator.laplace(0, spread / np.sqrt(2), length)
    values = generator.normal(0, spread, length)
    for place in range(1, length):
        values[place] = 0.4 * values[place - 1] + np.sqrt(1 - 0.4**2) * values[place]
    return values


def changed(level, generator):
    factor = 1 + generator.uniform(0.02, 0.6)
    return level * (factor if generator.random() < 0.5 else 1 / factor)


def levels(shape, length, generator):
    """The series without its noise."""
    series = np.full(length, 100.0)
    if shape == "noise":
        return series
    if shape == "ramp":
        stairs = int(generator.integers(3, 6))
        rise = 1 + generator.uniform(0.03, 0.15)
        return 100.0 * rise ** (np.arange(length) * stairs // length)
    count = int(generator.integers(2, 5)) if shape == "steps" else 1
    places = np.sort(generator.choice(np.arange(4, length - 4), size=min(count, length - 8), replace=False))
    level = 100.0
    for place in places:
        level = changed(level, generator)
        series[place:] = level
    return series


def series(number, generator):
    shape, kind = SHAPES[number % 5], NOISES[number // 5 % 5]
    length = LENGTHS[int(generator.integers(len(LENGTHS)))]
    spread = float(generator.choice([0.005, 0.01, 0.02, 0.05]))
    values = levels(shape, length, generator) * (1 + noise(kind, length, spread, generator))
    if shape == "outliers":
        struck = generator.choice(length, size=max(1, length // 30), replace=False)
        values[struck] *= generator.uniform(1.3, 3.0, len(struck))
    return f"{number:03d} {shape} {kind} of {length}, {spread:.1%}", [float(value) for value in values]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    generator = np.random.default_rng(parser.parse_args().seed)
    print(json.dumps(dict(series(number, generator) for number in range(100))))


if __name__ == "__main__":
    main()
