"""200 prompts of all kinds, made from small parts: what a tokenizer or a chat template could stumble over."""

from __future__ import annotations

SUBJECTS = ["the sea", "a canoe", "bread", "the Moon", "iron", "honey bees", "Lisbon", "prime numbers", "rain", "a library"]

CODE = '''def area(width: float, height: float) -> float:
    """Of a rectangle."""
    if width < 0 or height < 0:
        raise ValueError(f"negative: {width=}, {height=}")
    return width * height


class Box:
\tdef __init__(self):
\t\tself.items = []   # tabs, not spaces
'''

UNICODE = [
    "¿Cómo estás? Respóndeme en una frase.",
    "日本の首都はどこですか？",
    "Напиши одно предложение о море.",
    "اكتب جملة واحدة عن البحر.",
    "Write three emojis: 😀🎉👩‍👩‍👧‍👦 and nothing else.",
    "Zażółć gęślą jaźń 1234567890 ½ ² ①",
    "e\u0301 is not é; \u200bzero\u200bwidth\u00a0spaces\u2003here",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f and 🏳️‍🌈",
    "नमस्ते, आप कैसे हैं?",
    "안녕하세요! 오늘 날씨가 어때요?",
]

ODD = [
    "",
    " ",
    "\n",
    "   leading and trailing   ",
    "a\n\n\n\nb\r\n\tc",
    "1234567890 12 345 6,789.01 0x1F 1e-9",
    "!!!??...---===+++",
    "<|im_start|>user\nnot a turn<|im_end|>",
    "I'm can't we'll they've HE'S 'tis",
    '{"key": ["value", 1, null, true], "nested": {"a": "\\u00e9"}}',
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "https://example.org/a/b?c=d&e=%20f#g user@example.org C:\\dir\\file.txt",
    "<b>bold</b> &amp; <!-- comment -->",
    "ALL CAPS AND camelCase AND snake_case AND kebab-case",
    "word " * 60,
]

SHORT_ANSWERS = ["Say hi.", "Answer yes or no: is water wet?", "Say only the word blue.", "What is 2 + 2?", "Reply with one word."]


def user(content: object) -> dict:
    return {"role": "user", "content": content}


def system(content: str) -> dict:
    return {"role": "system", "content": content}


def assistant(content: object) -> dict:
    return {"role": "assistant", "content": content}


def parts(*texts: str) -> list[dict]:
    return [{"type": "text", "text": text} for text in texts]


def chats() -> list[list[dict]]:
    single = [[user(f"Tell me one fact about {subject}.")] for subject in SUBJECTS]
    lists = [[user(f"List four things about {subject}, one on each line.")] for subject in SUBJECTS]
    lists += [[user(f"Why does {subject} matter? Answer in one short sentence.")] for subject in SUBJECTS]
    lists += [[user(f"Is {subject} blue?"), assistant("No."), user("Sure? Answer yes or no.")] for subject in SUBJECTS]
    ruled = [[system(f"You speak only of {subject}, and briefly."), user("Who are you?")] for subject in SUBJECTS]
    short = [[system("Answer in at most five words."), user(asked)] for asked in SHORT_ANSWERS]
    short += [[user(asked)] for asked in SHORT_ANSWERS]
    turns = [
        [user(f"What is {subject}?"), assistant(f"{subject} is well known."), user("Why?")] for subject in SUBJECTS
    ]
    long_talks = [
        [system("Be kind."), *([user("Next."), assistant(f"Number {turn}.")][side] for turn in range(count) for side in (0, 1)), user("Stop.")]
        for count in range(2, 12)
    ]
    unicode = [[user(text)] for text in UNICODE] + [[system(text), user("Translate that.")] for text in UNICODE]
    odd = [[user(text)] for text in ODD] + [[user("Repeat:"), assistant(text), user("Thanks.")] for text in ODD]
    code = [[user(f"{asked}\n```python\n{CODE}```")] for asked in ("Explain.", "Find the bug.", "Add a test.", "Shorten:", "Rename Box.")]
    code += [[user(f"Write a function in {language} that adds two numbers.")] for language in ("Python", "Rust", "C", "SQL", "HTML")]
    in_parts = [[user(parts(f"Here is {subject}.", "Say more."))] for subject in SUBJECTS[:5]]
    in_parts += [[user(parts("one", "", "three\n"))], [system("s"), user(parts("alone"))]]
    odd_turns = [
        [user("a"), assistant(""), user("b")],
        [{"role": "developer", "content": "Be brief."}, user("Who?")],
        [system("one"), system("two"), user("three")],
        [user("one"), user("two")],
        [{**user("Hello"), "name": "Ada"}],
        [user("Write on."), assistant("Once upon a time")],
        [user("Write on."), assistant("1, 2, 3,")],
        [system(""), user("Hello")],
    ]
    text = " ".join(f"{number}. The {subject.split()[-1]} was seen again." for number in range(8) for subject in SUBJECTS)
    # All slots share one context of 2048 tokens.
    long = [[user(text[:length] + "\nSum this up.")] for length in (200, 300, 400, 500, 600, 700, 800, 900)]
    return single + lists + ruled + short + turns + long_talks + unicode + odd + code + in_parts + odd_turns + long


def completions() -> list[str]:
    begun = [f"A short story about {subject}:" for subject in SUBJECTS]
    return begun + [CODE, *UNICODE[:6], *[text for text in ODD if text], "The end.\n\n", "1, 2, 3,", "Q: Why?\nA:", "fn main() {", "Dear Ada,\n", "import os\n"]


def prompts() -> list[tuple[str, dict]]:
    # Short ones where the limit decides, long ones where the model ends by itself.
    limits = [32, 12, 3, 17, 48, 1, 8, 64, 6, 10]
    asked = [("/v1/chat/completions", {"messages": chat}) for chat in chats()]
    asked += [("/v1/completions", {"prompt": text}) for text in completions()]
    return [(route, {"model": "m", **request, "max_tokens": limits[at % len(limits)]}) for at, (route, request) in enumerate(asked)]


PROMPTS = prompts()
