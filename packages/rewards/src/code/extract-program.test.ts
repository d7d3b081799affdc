import { expect, test } from "bun:test";
import { extractProgram } from "./extract-program.ts";

const fence = "```";
const block = (code: string, tag = "python") => `${fence}${tag}\n${code}\n${fence}\n`;

test("the last Python block counts, not one of another language behind it", () => {
  expect(extractProgram(`${block("a")}then\n${block("b")}`)).toBe("b");
  expect(extractProgram(`${block("a", "Python3")}${block("3", "")}${block("x", "cpp")}`)).toBe("a");
  expect(extractProgram(block("x", "cpp"), "", ["cpp"])).toBe("x");
  expect(extractProgram(block("x", "cpp"))).toBeUndefined();
  expect(extractProgram(`${block("a", "")}${block("b", "")}`)).toBe("b");
});

test("a tag may say more than the language", () => {
  for (const tag of ["python:main.py", "{.python}", "{python}", "Python3.11", "python,linenos", "py{1,3}"]) {
    expect([tag, extractProgram(`${block("a", tag)}${block("b", "")}`)]).toEqual([tag, "a"]);
    expect([tag, extractProgram(`${fence}${tag}\nhalf\n${block("whole", tag)}`)]).toEqual([tag, "whole"]);
  }
  for (const tag of ["pythonista", "python-repl", "text:python", "{.cpp}", "{", "."]) {
    expect([tag, extractProgram(block("a", tag))]).toEqual([tag, undefined]);
  }
  expect(extractProgram(block("a", "node.js"), "", ["Node.js"])).toBe("a");
});

test("only what follows the thought counts", () => {
  expect(extractProgram(`<think>${block("a")}</think>${block("b")}`)).toBe("b");
  expect(extractProgram(`${block("a")}</think> none`)).toBeUndefined();
  expect(extractProgram(block("a"), "question <think>\n")).toBeUndefined();
});

test("a block that is not closed is none; one that is begun anew counts", () => {
  expect(extractProgram(`${fence}python\nprint(1)`)).toBeUndefined();
  expect(extractProgram(`${block("a")}${fence}python\nprint(1)`)).toBe("a");
  expect(extractProgram(`${fence}python\nhalf\n${block("whole")}`)).toBe("whole");
  expect(extractProgram(`${fence}python\nwhole\n${fence} This prints it.`)).toBe("whole");
});

test("long lines that are nearly fences are read in no time", () => {
  for (const filling of ["a", " ", "\t", "a ", "\u00a0"].map((part) => part.repeat(1_000_000))) {
    expect(extractProgram(`${fence}${filling}\`\n${block("a")}`)).toBe("a");
    expect(extractProgram(`${fence}python${filling}\`\n${fence}\n`)).toBeUndefined();
  }
  expect(extractProgram(`${"`".repeat(1_000_000)}\n${block("a")}`)).toBe("a");
  expect(extractProgram(block(`${" ".repeat(1_000_000)}a`))).toHaveLength(1_000_001);
});

test("indented fences, long fences and carriage returns", () => {
  expect(extractProgram(`1. so\n   ${fence}python\n   if x:\n       y\n   ${fence}\n`)).toBe("if x:\n    y");
  expect(extractProgram(`${fence}${fence}python\n${fence}\n${fence}${fence}`)).toBe(fence);
  expect(extractProgram(`${fence} python title\r\na\r\nb\r\n${fence}\r\n`)).toBe("a\nb");
  // Backticks in the program's own text, further in than a fence may be, do not end it.
  expect(extractProgram(block(`def f():\n    '''\n    ${fence}\n    '''`))).toContain(fence);
});
