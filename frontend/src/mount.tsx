// The page into an element, whatever its bytes come from.
import { render } from "preact";
import type { Source } from "./data/source";
import type { MapView } from "./map/view";
import { App } from "./panels/app";
import { follow } from "./state/link";
import { Store } from "./state/store";
import { preferred } from "./theme";

export interface Mounted {
  store: Store;
  views: MapView[];
  unmount: () => void;
}

export async function mount(element: HTMLElement, source: Source): Promise<Mounted> {
  const store = await Store.open(source);
  const views: MapView[] = [];
  store.theme.value = preferred();
  render(<App store={store} views={views} />, element);
  const stop = source.permalinks ? follow(store) : () => {};
  return {
    store,
    views,
    unmount: () => {
      stop();
      render(null, element);
    },
  };
}

/** What a reader sees when the page cannot be shown. */
export function refuse(element: HTMLElement, error: unknown): void {
  const words = document.createElement("p");
  words.className = "mm-refused";
  words.textContent = `This map cannot be shown: ${error instanceof Error ? error.message : String(error)}`;
  element.replaceChildren(words);
}
