// The page's script: data inside the page, or from the server that sent it.
import "./style.css";
import { inlineSource, serverSource } from "./data/source";
import { type Mounted, mount, refuse } from "./mount";

declare global {
  interface Window {
    memorymaps?: Mounted & { ready: number };
  }
}

async function start(): Promise<void> {
  const root = document.getElementById("mm-root")!;
  try {
    const source = document.getElementById("mm-meta") ? inlineSource(document) : await serverSource();
    const mounted = await mount(root, source);
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        window.memorymaps = { ...mounted, ready: performance.now() };
      }),
    );
  } catch (error) {
    refuse(root, error);
  }
}

void start();
