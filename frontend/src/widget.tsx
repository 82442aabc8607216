// The notebook's module (anywidget): bytes come from the kernel, the selection goes both ways.
import { effect } from "@preact/signals";
import type { Meta } from "./data/meta";
import { gunzip, jsonOf, type Source } from "./data/source";
import { mount, refuse } from "./mount";

interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(message: unknown): void;
  on(event: string, run: (...args: never[]) => void): void;
  off(event: string, run: (...args: never[]) => void): void;
}

const bytes = (view: DataView): Uint8Array<ArrayBuffer> =>
  new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength).slice();

function kernelSource(model: Model): { source: Source; stop: () => void } {
  const waiting = new Map<string, (part: Uint8Array<ArrayBuffer>) => void>();
  const answer = (message: { part: string }, buffers: DataView[]) => {
    waiting.get(message.part)?.(bytes(buffers[0]));
    waiting.delete(message.part);
  };
  model.on("msg:custom", answer);
  const ask = (part: string) =>
    new Promise<Uint8Array<ArrayBuffer>>((resolve) => {
      waiting.set(part, resolve);
      model.send({ want: part });
    });
  const meta = JSON.parse(model.get("_meta") as string) as Meta;
  const source: Source = {
    meta,
    permalinks: false,
    table: () => gunzip(bytes(model.get("_table") as DataView)),
    sheet: async (k) => new Blob([await ask(`sheet/${k}`)], { type: meta.pictures?.mime }),
    texts: async (k) => jsonOf(await ask(`texts/${k}`)),
  };
  return { source, stop: () => model.off("msg:custom", answer) };
}

async function render({ model, el }: { model: Model; el: HTMLElement }): Promise<() => void> {
  const host = document.createElement("div");
  host.className = "mm-host";
  host.style.height = `${model.get("height")}px`;
  el.append(host);
  const { source, stop } = kernelSource(model);
  try {
    const { store, unmount } = await mount(host, source);
    const known = () => JSON.stringify(model.get("_rows"));
    const back = () => {
      const rows = model.get("_rows") as number[];
      if (JSON.stringify([...store.selection.peek()]) !== JSON.stringify(rows)) store.select(rows, "by Python");
    };
    back();
    const stopSelection = effect(() => {
      const rows = [...store.selection.value];
      if (JSON.stringify(rows) === known()) return;
      model.set("_rows", rows);
      model.save_changes();
    });
    model.on("change:_rows", back);
    return () => {
      stopSelection();
      model.off("change:_rows", back);
      stop();
      unmount();
    };
  } catch (error) {
    refuse(host, error);
    return stop;
  }
}

export default { render };
