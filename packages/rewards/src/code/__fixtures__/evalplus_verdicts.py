"""Makes evalplus-verdicts.jsonl: what PyPI's `evalplus` says of the canonical solutions and of seeded mutants of them.

usage: python evalplus_verdicts.py FOLDER OUT.jsonl [--mutants 1000] [--seed 6] [--workers 2]

FOLDER holds humaneval_plus/HumanEvalPlus.jsonl.gz and mbpp_plus/MbppPlus-v0.1.0.jsonl.gz; `pip install evalplus==0.3.1`.
A row is {"task", "edits", "base", "plus"}: `edits` are [offset, characters cut, text put] on prompt + canonical_solution,
from the last to the first, so that the row holds nothing of the data sets; none is the canonical solution itself.
`base` and `plus` are evalplus's statuses, `plus` that of base and plus together. EvalPlus's limits are of the clock: what
does not pass is asked once more, and the machine should have nothing else to do.
"""

import argparse
import ast
import json
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("out")
parser.add_argument("--mutants", type=int, default=1000)
parser.add_argument("--seed", type=int, default=6)
parser.add_argument("--workers", type=int, default=2)
arguments = parser.parse_args()
os.environ["HUMANEVAL_OVERRIDE_PATH"] = f"{arguments.folder}/humaneval_plus/HumanEvalPlus.jsonl.gz"
os.environ["MBPP_OVERRIDE_PATH"] = f"{arguments.folder}/mbpp_plus/MbppPlus-v0.1.0.jsonl.gz"

from evalplus.data import get_human_eval_plus, get_mbpp_plus  # noqa: E402
from evalplus.eval import untrusted_check  # noqa: E402
from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS  # noqa: E402
from evalplus.gen.util import trusted_exec  # noqa: E402

# Neighbours, so that many mutants differ at a border only, or nowhere.
COMPARISONS = {"<": ["<=", "!="], "<=": ["<", "=="], ">": [">=", "!="], ">=": [">", "=="], "==": [">=", "<="]}
OPERATIONS = ["+", "-", "*", "//", "/", "%"]
WRAPS = ["tuple({})", "list({})", "float({})", "int({})", "[{}]", "({}) + 1e-7", "({}) + 1e-5", "sorted({})", "None"]


def sites(source):
    """Every possible edit of the function bodies as (start, end, [replacements]), in characters."""
    lines = source.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)

    def at(line, column):
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    def span(node):
        return at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)

    found = []

    def replace(start, end, texts):
        old = source[start:end]
        found.append((start, end, [text for text in texts if text != old]))

    def swap(left, right, operators):
        # The operator stands between two operands; brackets around them would stand there too.
        start, end = span(left)[1], span(right)[0]
        old = source[start:end].strip()
        if old in operators:
            others = operators[old] if isinstance(operators, dict) else operators
            replace(start, end, [f" {operator} " for operator in others if operator != old])

    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for statement in function.body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Compare):
                    for left, right in zip([node.left, *node.comparators], node.comparators):
                        swap(left, right, COMPARISONS)
                        swap(left, right, ["in", "not in"])
                elif isinstance(node, ast.BinOp):
                    swap(node.left, node.right, OPERATIONS)
                elif isinstance(node, ast.AugAssign):
                    swap(node.target, node.value, ["+=", "-=", "*="])
                elif isinstance(node, ast.BoolOp):
                    for left, right in zip(node.values, node.values[1:]):
                        swap(left, right, ["and", "or"])
                elif isinstance(node, ast.Constant):
                    if isinstance(node.value, bool):
                        replace(*span(node), ["True", "False"])
                    elif isinstance(node.value, (int, float)):
                        replace(*span(node), [repr(node.value + 1), f"({node.value!r} - 1)", "0"])
                    elif isinstance(node.value, str) and not isinstance(statement, ast.Expr):
                        replace(*span(node), ["''", repr(node.value + " "), repr(node.value.swapcase())])
                elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
                    start, end = span(node.test)
                    replace(start, end, [f"not ({source[start:end]})"])
                elif isinstance(node, ast.Return) and node.value is not None:
                    start, end = span(node.value)
                    replace(start, end, [wrap.format(source[start:end]) for wrap in WRAPS])
                elif isinstance(node, (ast.Assign, ast.AugAssign, ast.Break, ast.Continue)):
                    replace(*span(node), ["pass"])
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
                    start, end = span(node.args[-1])
                    replace(start, end, [f"({source[start:end]}) - 1", f"({source[start:end]}) + 1"])
    return [site for site in found if site[2]]


def mutant(source, places, chance):
    """One or two edits that do not overlap, from the last to the first, and the program that they make."""
    edits = []
    for start, end, texts in chance.sample(places, min(len(places), chance.choice([1, 1, 1, 1, 2]))):
        if all(end <= offset or start >= offset + cut for offset, cut, _ in edits):
            edits.append([start, end - start, chance.choice(texts)])
    edits.sort(reverse=True)
    program = source
    for offset, cut, put in edits:
        program = program[:offset] + put + program[offset + cut :]
    return edits, program


def compiles(program):
    try:
        compile(program, "mutant", "exec")
        return True
    except SyntaxError:
        return False


def expected_of(problem, dataset):
    wanted = {}
    only_not_none = dataset == "mbpp" and problem["entry_point"] in MBPP_OUTPUT_NOT_NONE_TASKS
    for kind in ("base", "plus"):
        wanted[kind], wanted[f"{kind}_time"] = trusted_exec(
            problem["prompt"] + problem["canonical_solution"],
            problem[f"{kind}_input"],
            problem["entry_point"],
            record_time=True,
            output_not_none=only_not_none,
        )
    return wanted


def status_of(problem, dataset, wanted, program, kind):
    for _ in range(2):
        status = untrusted_check(
            dataset,
            program,
            problem[f"{kind}_input"],
            problem["entry_point"],
            expected=wanted[kind],
            atol=problem["atol"],
            ref_time=wanted[f"{kind}_time"],
            fast_check=True,
        )[0]
        if status == "pass":
            break
    return status


def verdicts(job):
    """The numbered rows of one task: its canonical solution and its mutants."""
    dataset, problem, programs = job
    wanted = expected_of(problem, dataset)
    rows = []
    for number, edits, program in programs:
        base = status_of(problem, dataset, wanted, program, "base")
        plus = status_of(problem, dataset, wanted, program, "plus") if base == "pass" else base
        rows.append((number, {"task": problem["task_id"], "edits": edits, "base": base, "plus": plus}))
    return rows


def main():
    chance = random.Random(arguments.seed)
    problems = [("humaneval", problem) for problem in get_human_eval_plus().values()]
    problems += [("mbpp", problem) for problem in get_mbpp_plus().values()]
    sources = [problem["prompt"] + problem["canonical_solution"] for _, problem in problems]
    places = [sites(source) for source in sources]
    programs = [[(number, [], source)] for number, source in enumerate(sources)]
    seen = set()
    while len(seen) < arguments.mutants:
        index = chance.randrange(len(problems))
        # Offsets count characters here and UTF-16 units where they are read.
        if not places[index] or not all(ord(character) < 0x10000 for character in sources[index]):
            continue
        edits, program = mutant(sources[index], places[index], chance)
        if program in seen or not compiles(program):
            continue
        seen.add(program)
        programs[index].append((len(sources) + len(seen), edits, program))
    rows = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        jobs = [(*problem, own) for problem, own in zip(problems, programs)]
        for done, own in enumerate(pool.map(verdicts, jobs)):
            rows += own
            if done % 20 == 0:
                print(done, len(jobs), file=sys.stderr, flush=True)
    with open(arguments.out, "w") as out:
        for _, row in sorted(rows, key=lambda numbered: numbered[0]):
            out.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
