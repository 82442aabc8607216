import { describe, expect, it } from "vitest";
import { literal, SvgPen } from "../src/map/svg";

const pen = () => new SvgPen(100, 50, "map", () => ({ width: 10 }) as TextMetrics);

describe("text in a picture", () => {
  it.each([
    ['<script>&"', "&#60;script&#62;&#38;&#34;"],
    ["a\u0000b\u001bc", "a\ufffdb\ufffdc"],
    ["\ud800", "\ufffd"],
    ["👩‍👧 שלום", "👩‍👧 שלום"],
  ])("%j is written as %j", (text, written) => expect(literal(text)).toBe(written));
});

describe("the pen", () => {
  it("draws lines, text and discs where they belong", () => {
    const p = pen();
    p.strokeStyle = "#123456";
    p.lineTo(1, 2);
    p.lineTo(3, 4);
    p.stroke();
    p.font = "600 12px sans-serif";
    p.textAlign = "right";
    p.fillText("a<b", 5, 6);
    p.disc(7, 8, 2, "rgb(1,2,3)", 0.5, false);
    const svg = p.nested(100);
    expect(svg).toContain('<path d="M1 2L3 4" fill="none" stroke="#123456"');
    expect(svg).toContain('x="5" y="6" text-anchor="end"');
    expect(svg).toContain('font-weight="600"');
    expect(svg).toContain("a&#60;b</text>");
    expect(svg).toContain('<circle cx="7" cy="8" r="2" fill="rgb(1,2,3)" opacity="0.5"/>');
  });
  it("closes every group that a clip has opened", () => {
    const p = pen();
    p.save();
    p.rect(0, 0, 10, 10);
    p.clip();
    p.save();
    p.clip();
    p.restore();
    p.restore();
    const svg = p.nested(0);
    expect(svg.match(/<g /g)).toHaveLength(2);
    expect(svg.match(/<\/g>/g)).toHaveLength(2);
  });
  it("draws whole circles", () => {
    const p = pen();
    p.arc(10, 10, 4);
    p.fill();
    expect(p.nested(0)).toContain("M6 10a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z");
  });
});
