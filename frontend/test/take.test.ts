import { describe, expect, it } from "vitest";
import { quoted, written } from "../src/state/take";

describe("cells of a CSV file", () => {
  it.each([
    ["plain", "plain"],
    ['say "hi", you', '"say ""hi"", you"'],
    ["two\nlines", '"two\nlines"'],
    ["=HYPERLINK(1)", "'=HYPERLINK(1)"],
    ["@SUM", "'@SUM"],
    ["-1+2", "'-1+2"],
  ])("%j becomes %j", (text, cell) => expect(quoted(text)).toBe(cell));
});

describe("ids in a CSV file", () => {
  it.each(["-1", "+1", "=a", "@a", "00041"])("%j stays", (id) => expect(written(id)).toBe(id));
  it("are quoted where they have to be", () => expect(written('a,"b"')).toBe('"a,""b"""'));
});
