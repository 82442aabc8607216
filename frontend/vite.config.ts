import { defineConfig } from "vitest/config";

// Two built files, committed: the page's script with its style, and the notebook's module.
export default defineConfig(({ mode }) => {
  const widget = mode === "widget";
  return {
    define: { "process.env.NODE_ENV": '"production"' },
    build: {
      outDir: "../src/memorymaps/viz/explorer/static",
      emptyOutDir: !widget,
      target: "es2022",
      lib: {
        entry: widget ? "src/widget.tsx" : "src/page.tsx",
        formats: [widget ? "es" : "iife"],
        name: "memorymapsExplorer",
        fileName: () => (widget ? "widget.js" : "explorer.js"),
        cssFileName: "explorer",
      },
    },
    test: { include: ["test/**/*.test.ts"] },
  };
});
