"""Usages of every kind for a model, and each as LiteLLM writes it and as we do."""

import re

from litellm.types.utils import Usage

CLASSES = {"batch": "_batches", "flex": "_flex", "priority": "_priority"}
NO_CLASSES = "litellm charges this provider's classes of service as the standard"


def inputs(entry, rng):
    """One input of any length, and the lengths at which a tier of the model begins and ends."""
    edges = {int(n) * (1000 if k else 1) for key in entry for n, k in re.findall(r"_above_(\d+)(k?)_tokens", key)}
    edges |= {int(edge) for tier in entry.get("tiered_pricing") or [] for edge in tier.get("range") or []}
    near = [edge + off for edge in edges for off in (-1, 0, 1, rng.randrange(1, 50_000)) if edge + off > 0]
    return [rng.randrange(1, 4_000), rng.randrange(1, 120_000), *near]


def tokens(kind, size, rng):
    """What a call of that kind used, with an input of that size."""
    part = lambda whole: rng.randrange(0, whole + 1)
    used = {"input": size, "output": rng.randrange(0, 16_000)}
    if kind in ("cached", "cached and written", "overlap", "everything"):
        used["cached_input"] = part(size)
    if kind in ("written", "cached and written", "everything"):
        used["cache_writes"] = part(size - used.get("cached_input", 0))
        used["cache_writes_1h"] = part(used["cache_writes"])
    left = size - used.get("cached_input", 0) - used.get("cache_writes", 0)
    if kind == "overlap":  # what was heard may have been in the cache, too
        used["audio_input"] = part(size)
    if kind in ("audio", "everything"):
        used["audio_input"] = part(left)
    if kind in ("image", "everything"):
        used["image_input"] = part(left - used.get("audio_input", 0))
    unseen = used["output"]
    for field, kinds in (("reasoning", ("reasoning",)), ("audio_output", ("audio",)), ("image_output", ("image",))):
        if kind in kinds or kind == "everything":
            used[field] = part(unseen)
            unseen -= used[field]
    return used


KINDS = ("plain", "cached", "written", "cached and written", "audio", "image", "reasoning", "overlap", "everything")


def theirs(used):
    writes = used.get("cache_writes", 0)
    details = {
        "cached_tokens": used.get("cached_input", 0),
        "audio_tokens": used.get("audio_input", 0),
        "image_tokens": used.get("image_input", 0),
    }
    if writes:
        hour = used["cache_writes_1h"]
        details["cache_creation_tokens"] = writes
        details["cache_creation_token_details"] = {
            "ephemeral_5m_input_tokens": writes - hour,
            "ephemeral_1h_input_tokens": hour,
        }
    return Usage(
        prompt_tokens=used["input"],
        completion_tokens=used["output"],
        total_tokens=used["input"] + used["output"],
        prompt_tokens_details=details,
        completion_tokens_details={
            "reasoning_tokens": used.get("reasoning", 0),
            "audio_tokens": used.get("audio_output", 0),
            "image_tokens": used.get("image_output", 0),
        },
    )


def ours(model, service, used):
    fields = "input cached_input cache_writes cache_writes_1h audio_input image_input output reasoning audio_output image_output"
    return {"model": model, "service": service, "tokens": {field: used.get(field, 0) for field in fields.split()}}


def services(entry):
    """The classes of service that the table has prices for."""
    priced = lambda suffix: any(key.endswith(suffix) and "_token" in key and entry[key] is not None for key in entry)
    return ["standard", *(name for name, suffix in CLASSES.items() if priced(suffix))]
