"""Makes the committed fixtures of the tokenizer tests; needs transformers, which the tests themselves do not.

python crates/text/tests/make_fixtures.py [folder with chat templates]

- fixtures/byte_level, fixtures/byte_fallback: small tokenizers with their configuration
- fixtures/encodings.json: ids and decoded texts by the Python tokenizers library
- fixtures/renderings.json: conversations rendered by transformers, with templates of our own (inlined) and of the folder (by file name)
"""

import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers.utils.chat_template_utils import render_jinja_template

FIXTURES = pathlib.Path(__file__).parent / "fixtures"

CHATML = """{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# Python's string methods, slices, namespaces, tojson, generation blocks, trimmed blocks and loop controls.
PYTHONIC = """{{ bos_token }}
{% set ns = namespace(last='', turns=0) %}
{% for message in messages[::-1] %}
  {% if message['role'] == 'user' and ns.last == '' %}
    {% set ns.last = message['content'] %}
  {% endif %}
{% endfor %}
{% if not tools is none %}never{% endif %}
{% for message in messages %}
  {% if message.role == 'tool' %}{% continue %}{% endif %}
  {% set ns.turns = ns.turns + 1 %}
  {% if message.role == 'assistant' %}
    {%- generation %}
{{ message.content.split('</think>')[-1].lstrip('\\n').strip() }}{{ eos_token }}
    {%- endgeneration %}
  {% else %}
[{{ message.role.upper() }}]{{ message | tojson }}{{ message.content.startswith('Hi') }}
  {% endif %}
{% endfor %}
{{ ns.turns }} {{ ns.last | tojson }} {{ messages[0] | tojson(indent=2) }}
{% if add_generation_prompt %}>{% endif %}
"""

REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}{{ messages[0].content }}"

CONVERSATIONS = [
    [("user", "1+1?")],
    [("system", "You are \"terse\".\n"), ("user", "Hi <b>é</b> 😁 'x' & y"), ("assistant", "ok"), ("user", " last ")],
    [("user", "a"), ("assistant", "<think>\nlong\n</think>\n\nfour"), ("user", "b"), ("assistant", "<think>\nw\n</think>\n\nfive")],
]


def byte_level():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("Ã", "©"), ("ð", "Ł")]
    vocab = {token: index for index, token in enumerate(alphabet + ["".join(pair) for pair in merges])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|im_start|>", special=True), AddedToken("<|im_end|>", special=True)])
    tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("<｜x｜>", special=False)])
    tokenizer.enable_truncation(4)  # must be ignored by the loader
    return tokenizer, {"bos_token": None, "eos_token": {"content": "<|im_end|>"}, "chat_template": [
        {"name": "tool_use", "template": "never"}, {"name": "default", "template": CHATML}]}


def byte_fallback():
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += ["▁", "a", "b", "c", "▁a", "bc", "▁abc", "é"]
    vocab = {token: index for index, token in enumerate(tokens)}
    merges = [("▁", "a"), ("b", "c"), ("▁a", "bc")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>"}


def encodings(name, tokenizer):
    texts = ["", "hello world", "hello<|im_end|>\nhe<think>x<｜x｜>", "cafe\u0301 é 😁 汉字\tb", "abc abc a bc", " a  é\n"]
    rows = []
    tokenizer.no_truncation()
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append({"tokenizer": name, "text": text, "ids": ids,
                     "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                     "decoded_without_special": tokenizer.decode(ids, skip_special_tokens=True)})
    if name == "byte_level":  # any bytes at all, and ids beyond the vocabulary
        generator = random.Random(7)
        for _ in range(40):
            ids = [generator.randrange(tokenizer.get_vocab_size() + 20) for _ in range(24)]
            rows.append({"tokenizer": name, "text": None, "ids": ids,
                         "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                         "decoded_without_special": tokenizer.decode(ids, skip_special_tokens=True)})
    return rows


def rendering(source, file, conversation, add_generation_prompt, tokens):
    messages = [{"role": role, "content": content} for role, content in conversation]
    row = {"file": file, "template": None if file else source, **tokens, "messages": messages,
           "add_generation_prompt": add_generation_prompt, "text": None, "error": None}
    try:
        set_tokens = {name: token for name, token in tokens.items() if token is not None}
        row["text"] = render_jinja_template([messages], chat_template=source, add_generation_prompt=add_generation_prompt, **set_tokens)[0][0]
    except Exception as error:  # the template's own refusal is part of the golden file
        row["error"] = str(error)
    return row


def main():
    rows = []
    for name, (tokenizer, config) in {"byte_level": byte_level(), "byte_fallback": byte_fallback()}.items():
        folder = FIXTURES / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=False) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
        rows += encodings(name, tokenizer)
    write_rows("encodings.json", rows)

    sources = [(None, CHATML), (None, PYTHONIC), (None, REFUSING)]
    if len(sys.argv) > 1:
        sources += [(path.name, path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja"))]
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    write_rows("renderings.json", [rendering(source, file, conversation, add, tokens)
                                   for file, source in sources for conversation in CONVERSATIONS for add in (False, True)])


def write_rows(name, rows):
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (FIXTURES / name).write_text(f"[\n{lines}\n]\n")


main()
