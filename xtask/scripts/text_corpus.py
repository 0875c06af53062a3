"""Texts and conversations that bring out differences between tokenizers and between template engines."""

import random

TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\r\n", "\n\n\n", " \n \n", "\t\t\tx", "a", " a", "a ", "  a  b   c    d",
    "Hello, world!", "Hello World 123 4567 89012", "The quick brown fox jumps over the lazy dog.",
    "I'm you're he'll WE'VE they'D it'S can't 'tis 's 'S ''re 'LL", "don\u2019t can\u2019t", "a'b'c'd'll",
    "def f(x):\n    return x ** 2  # square\n\n\nclass A:\n\tpass\n", "for(int i=0;i<10;++i){a[i]+=b[i]*c[i];}\n",
    '{"key": [1, 2.5, null, true], "nested": {"a": "b\\n"}}', "<html><body><p>Hi</p></body></html>", "a\u00a0b\u2003c\u3000d",
    "https://example.org/path?query=1&b=%20#frag", "foo_bar fooBar FooBar FOOBar foo-bar foo.bar $var @x #y",
    "0 00 000 0000 00000 1234567890 3.14159 1,000,000 1e-10 0xdeadbeef ½ ² ٣٤٥ ५६ Ⅷ", "2024-07-31T12:34:56Z",
    "你好，世界！我想在apple工作1314151天～", "こんにちは世界。カタカナとひらがな", "안녕하세요 세계", "繁體中文與简体中文",
    "مرحبا بالعالم، كيف حالك؟", "שלום עולם שָׁלוֹם", "नमस्ते दुनिया क्षत्रिय", "สวัสดีชาวโลก", "កាន់តែពិសេសអាច", "வணக்கம்",
    "Привет, мир! Ёлка", "Γειά σου Κόσμε", "Việt Nam Tiếng Việt", "naïve café résumé Ångström ﬁ ﬂ ß ẞ İ ı",
    "cafe\u0301 A\u030a o\u0302\u0301 \u1100\u1161\u11a8 \u212b \u2126 \u0344", "e\u0301" * 5, "\u0301 alone", "q\u0323\u0307 q\u0307\u0323",
    "😀😃 🦙🦙 🇩🇪🇫🇷 👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ❤️ 😶\u200d🌫️ ✅🚀(normal)", "🫠🪿", "\u200b\u200c\u200d\u2060\ufeff", "\ufeffBOM",
    "\u202eRTL\u202c \u2066x\u2069", "\x00", "a\x00b", "\x01\x02\x1b[31mred\x1b[0m\x7f", "\x85\u2028\u2029x", "\x0b\x0c",
    "\ufffd \ufffe \uffff", "\U0001d54f\U0001d552 \U00020000 \U000e0041 \U0010ffff", "\ue000", "---===___***!!!???...…", "``````''''''\"\"\"\"",
    "a" * 300, " " * 70, "\n" * 40, "\t" * 30, "=" * 90, "-" * 50 + " " + "#" * 33, "ab" * 120, "1" * 50, "！" * 9,
    "x \n y\n\n z \r\n\r w\n \n", "  leading", "trailing  ", "\n leading", "end\n", " \t \t ", "a \t\n b", "\r", "\r\r\n", "    \n    x",
    "▁", "▁▁a", "a▁b ▁ c", " ▁", "Ġhello Ċ", "ĠĠ", "<0x0A>", "<0x41>", "a<0xE5>b", "<0xzz>", "</w>", "##ing", "@@",
    "<s>", "</s>", "<unk>", "<pad>", "<s>a</s> b <unk>", "[INST] Hi [/INST]", "<<SYS>>\nx\n<</SYS>>\n\n", "[PAD151646]", "[PAD32011]",
    "<|im_start|>user\nHi<|im_end|>\n", "<|im_start", "<|im_start|", "|im_start|>", "< |im_start|>", "<|IM_START|>", "<|im_start|><|im_start|>",
    "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", "<bos><eos>", "<unused5>", "<|eot_id|>", "<|endoftext|>x", "<think>\n\n</think>\n\n",
    "<tool_call>\n{\"name\": \"f\"}\n</tool_call>", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "<|user|>\nHi<|end|>\n<|assistant|>\n", "<|user|> \n\t x <|end|>  y", "<table><tr><td>x</td></tr></table>", "<h1>T</h1>\n\n\n<br>",
    "Sphinx of black quartz, judge my vow. " * 20, "The   spaces    between     words      grow", "x=1;y=2;;z=3;;;",
    "import os, sys\nif __name__ == '__main__':\n    print(f\"{os.getcwd()!r}\")\n", "SELECT * FROM t WHERE a <> 'b' AND c >= 10;",
    "\\begin{align} x &= \\frac{1}{2} \\\\ \\end{align}", "A\n\nB\n\n\nC\n\n\n\nD", "1\n2\n3", "a\tb\tc", "Ünïcödé ÀÉÎÕÜ", "ǅ ǆ ʰ ª º", "ﷺ ﻻ", "𒀀𒁀", "ꙮ",
]

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFG", "0123456789", " ", "   ", "\n", "\t", "\r\n", "'sSdmtlLvereE", ".,;:!?-_/\\|<>[]{}()@#$%^&*+=~`\"",
    "éèüñçøåßœ", "\u0301\u0308\u0323", "漢字仮名中文", "あいうカタナ", "한국어", "абвгд", "αβγ", "अआइक्ष", "مرحبا", "שלום", "😀👍🏽🦙\u200d❤️🇩🇪",
    "\u00a0\u2003\u200b\u3000\u2028\x85", "\x00\x01\x1f\x7f", "½²Ⅷ٣५", "▁ĠĊ", "ǅʰª", "\U0001d54f\U00020000\U0010ffff",
]


def corpus(special, count=1500, seed=7):
    """The texts above, random ones, and both with special tokens in them."""
    draw = random.Random(seed)
    special = list(special)
    if len(special) > 400:
        special = special[:60] + special[-60:] + draw.sample(special, 200)
    texts = TEXTS + special
    texts += [f"{around}{token}{around}" for token in special[:80] for around in [" ", "x", "\n", "  "]]
    texts += [a + b for a, b in zip(TEXTS, TEXTS[7:])]
    for _ in range(count):
        pieces = []
        for _ in range(draw.randint(1, 12)):
            if draw.random() < 0.06 and special:
                pieces.append(draw.choice(special))
            elif draw.random() < 0.03:
                pieces.append(chr(draw.choice([draw.randrange(0x80, 0xd800), draw.randrange(0xe000, 0x30000)])))
            else:
                alphabet = draw.choice(ALPHABETS)
                pieces.append("".join(draw.choice(alphabet) for _ in range(draw.choice([1, 1, 2, 3, 5, 9]))))
        texts.append("".join(pieces))
    return texts


TOOL = {"type": "function", "function": {
    "name": "weather", "description": "The weather at a place.",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "A <town> & its \"country\"; ü"},
        "days": {"type": "integer", "enum": [1, 2, 3], "default": 1}}, "required": ["place"]}}}
TOOL_2 = {"type": "function", "function": {"name": "now", "description": "The time.",
    "parameters": {"type": "object", "properties": {}}}}


def call(arguments, **more):
    return {"role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "id": "abcdef123", "function": {"name": "weather", "arguments": arguments}}], **more}


def conversations():
    """Named requests: messages, tools, variables, generation prompt and time."""
    user = {"role": "user", "content": "Hello <b>there</b> & you, \"friend\"! 你好 😀\n  indented  "}
    system = {"role": "system", "content": "  You are 'kind'.\n"}
    answer = {"role": "assistant", "content": "Hi! How are you?\n"}
    more = {"role": "user", "content": "Fine."}
    turns = [user, answer, more, {"role": "assistant", "content": "Good."}, {"role": "user", "content": "Bye"}]
    arguments = {"place": "Köln", "days": 2}
    result = {"role": "tool", "name": "weather", "tool_call_id": "abcdef123", "content": "{\"sky\": \"blue\"}"}
    thinking = {"role": "assistant", "content": "<think>\nHm, 1 < 2.\n</think>\n\nFour."}
    reasoning = {"role": "assistant", "content": "Four.", "reasoning_content": "Hm."}
    parts = {"role": "user", "content": [{"type": "text", "text": "In "}, {"type": "text", "text": "parts"}]}
    cases = {
        "user": [user], "system and user": [system, user], "many turns": turns, "system and many turns": [system, *turns],
        "answer last": [user, answer], "two of user": [user, more], "system last": [user, answer, system],
        "thinking": [user, thinking, more], "reasoning": [user, reasoning, more], "parts": [system, parts],
        "developer": [{"role": "developer", "content": "Be brief."}, user], "unknown role": [{"role": "bird", "content": "tweet"}],
        "empty content": [{"role": "user", "content": ""}], "none": [],
    }
    named = [{"name": name, "request": {"messages": messages}} for name, messages in cases.items()]
    named += [{"name": f"{case['name']}, no prompt", "request": {**case["request"], "add_generation_prompt": False}} for case in named[:6]]
    for name, tools, messages in [
        ("tools", [TOOL, TOOL_2], [user]), ("tools and system", [TOOL], [system, user]),
        ("call", [TOOL], [system, user, call(arguments), result, answer, more]),
        ("call last", [TOOL], [user, call(arguments)]), ("result last", [TOOL], [user, call(arguments), result]),
        ("call as text", [TOOL], [user, call("{\"place\": \"Ulm\"}"), result]),
        ("two results", [TOOL], [user, call(arguments), result, result, more]),
        ("call without content", [TOOL], [user, call(arguments, content=None), result]),
    ]:
        named.append({"name": name, "request": {"messages": messages, "tools": tools}})
    for variables in [{"enable_thinking": False}, {"enable_thinking": True}, {"date_string": "26 Jul 2024"}, {"reasoning_effort": "low"}]:
        named.append({"name": str(variables), "request": {"messages": [system, *turns[:3]], "variables": variables}})
    for case in named:
        case["request"] = {"add_generation_prompt": True, "now": 1_722_384_000, **case["request"]}
    return named
