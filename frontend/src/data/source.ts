// Where the bytes come from: the page itself, a local server, a notebook's kernel. Nothing else differs between them.
import type { Meta } from "./meta";

export interface Source {
  meta: Meta;
  /** Whether the address bar belongs to the page (a notebook's does not). */
  permalinks: boolean;
  table(): Promise<Uint8Array>;
  sheet(k: number): Promise<Blob>;
  texts(k: number): Promise<string[]>;
  /** Where a server has several maps: their names, and which one this is. */
  maps?: Maps;
}

export interface Maps {
  names: string[];
  at: number;
}

/** The address of the k-th map of the server that sent this page. */
export const addressOf = (path: string, k: number): string => `/${path.split("/")[1]}/${k}/`;

export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export async function gunzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export const jsonOf = <T>(bytes: Uint8Array): T => JSON.parse(new TextDecoder().decode(bytes)) as T;

export function inlineSource(page: Document): Source {
  const text = (id: string): string => {
    const node = page.getElementById(id);
    if (!node) throw new Error(`this page lacks its part ${id}: it was cut off, write it again`);
    return node.textContent ?? "";
  };
  const meta = JSON.parse(text("mm-meta")) as Meta;
  return {
    meta,
    permalinks: true,
    table: () => gunzip(bytesOf(text("mm-table"))),
    sheet: async (k) => new Blob([bytesOf(text(`mm-sheet-${k}`))], { type: meta.pictures?.mime }),
    texts: async (k) => jsonOf(await gunzip(bytesOf(text(`mm-texts-${k}`)))),
  };
}

export async function serverSource(): Promise<Source> {
  const get = async (path: string): Promise<Response> => {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(`the server answered ${answer.status} to ${path}: is it still running?`);
    return answer;
  };
  const bytes = get("table.arrow"); // the longest first
  const [meta, maps] = await Promise.all(["meta", "maps"].map(async (part) => (await get(part)).json()));
  return {
    meta: meta as Meta,
    maps: maps as Maps,
    permalinks: true,
    table: async () => new Uint8Array(await (await bytes).arrayBuffer()),
    sheet: async (k) => (await get(`sheet/${k}`)).blob(),
    texts: async (k) => (await (await get(`texts/${k}`)).json()) as string[],
  };
}
