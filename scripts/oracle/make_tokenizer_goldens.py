#!/usr/bin/env python3
"""Writes tests/golden/tokenizer_ids.json and tests/golden/tokenizer_gpt2.json.

The first holds what Hugging Face's tokenizers makes of some texts, with two tokenizers:
- tokenizer_trained.json, which our trainer made:
    headgate data train-tokenizer tests/golden/tokenizer_corpus.txt --vocab-size 600 \
        --output tests/golden/tokenizer_trained.json
  Hugging Face's trainer must learn the same merges from the same text, or this script fails.
- tokenizer_gpt2.json, which this script makes in the form of GPT-2's file: the expression is implied, merges
  are "a b", nothing is normalized, and <|endoftext|> is a part of the vocabulary.

Needs tokenizers from PyPI.
"""

import json
import pathlib

import tokenizers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
EOD = "<|endoftext|>"

TEXTS = [
    "",
    "In the beginning God created the heaven and the earth.",
    "don't I'LL we've THEY'RE it's 'tis she'd y'all'd I'm o'clock it'\u017f",
    "a1b22c333 1,234,567.89 \u00bd \u2167 \u0664\u0665\u0666",
    "\u9053\u53ef\u9053\uff0c\u975e\u5e38\u9053\u3002\u540d\u53ef\u540d\uff0c\u975e\u5e38\u540d\u3002",
    "\u65e5\u672c\u8a9e\u3068\u30ab\u30bf\u30ab\u30ca \ud55c\uad6d\uc5b4",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8",  # Korean in jamo
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0e01\u0e33 \u0e4d\u0e32",
    "\U0001f600\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1ec\U0001f1e7 \u2764\ufe0f!",
    "cafe\u0301 caf\u00e9 A\u030angstro\u0308m \u212bngstr\u00f6m \u1e9b\u0323",
    "q\u0307\u0323 q\u0323\u0307 <\u0338 \u0301alone",  # marks out of order, on punctuation, on nothing
    "viv\u00eda un hidalgo de los de lanza en astillero \u2014 \u201ccomillas\u201d",
    "one\r\ntwo\r\n\r\n  three\n\n\nfour\rfive\t\tsix",
    "a" + " " * 70 + "b  c   \n   d " + "\n" * 9 + " ",
    "space\u00a0space\u2003space\u3000space\u0085space\u180espace\ufeffspace\u200bspace",
    "x" * 100 + "ab" * 50 + "the" * 40,
    "for (int i = 0; i < 10; ++i) { a[i] += b->c(); } // ?!... ===>>>",
    f"one{EOD}two {EOD} {EOD}{EOD}",
    f"<|endoftext|{EOD[:-1]} <|endo{EOD}ftext|>\n{EOD}\n",
    "\x00\x01\x7f control",
]


def train(regex, text, vocab_size):
    """A tokenizer by Hugging Face's trainer, which numbers special tokens before all others."""
    tokenizer = Tokenizer(models.BPE())
    if regex is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(regex), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[EOD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return json.loads(tokenizer.to_str())


def main():
    corpus = (GOLDEN / "tokenizer_corpus.txt").read_text(encoding="utf-8")
    trained = json.loads((GOLDEN / "tokenizer_trained.json").read_text(encoding="utf-8"))
    regex = trained["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    reference = train(regex, corpus, len(trained["model"]["vocab"]) + 1)
    assert trained["model"]["merges"] == reference["model"]["merges"], "the trainers disagree"

    gpt2 = train(None, corpus, 400)
    gpt2["model"]["merges"] = [" ".join(pair) for pair in gpt2["model"]["merges"]]
    gpt2["added_tokens"][0]["normalized"] = True
    path = GOLDEN / "tokenizer_gpt2.json"
    path.write_text(json.dumps(gpt2, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    lines = [f'{{"tokenizers": "{tokenizers.__version__}"']
    for name in ["tokenizer_trained.json", "tokenizer_gpt2.json"]:
        tokenizer = Tokenizer.from_file(str(GOLDEN / name))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
        cases = [json.dumps({"text": text, "ids": i}) for text, i in zip(TEXTS, ids)]
        lines.append(f'"{name}": [\n' + ",\n".join(cases) + "]")
    (GOLDEN / "tokenizer_ids.json").write_text(",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
