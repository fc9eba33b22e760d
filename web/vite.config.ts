import preact from "@preact/preset-vite";
import { defineConfig } from "vitest/config";

// The control plane serves the built files under /ui/; `npm run dev` talks to one that runs on the default port.
export default defineConfig({
  base: "/ui/",
  plugins: [preact()],
  build: { outDir: "dist", sourcemap: false, target: "es2022" },
  server: { proxy: { "^/(experiments|sessions)": "http://127.0.0.1:8080" } },
  test: { include: ["src/**/*.test.ts"] },
});
