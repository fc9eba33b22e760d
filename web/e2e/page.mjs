// Opens the page as a person does (by the one-time link), checks what it shows, and keeps pictures.
// usage: node page.mjs LINK EXPERIMENT live|done FOLDER
import { mkdirSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [link, name, moment, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const context = await chromium.launchPersistentContext(await mkdtemp(join(tmpdir(), "em-page-")), {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: quiet,
  viewport: { width: 1280, height: 900 },
});
const page = await context.newPage();
const complaints = [];
page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
page.on("console", (message) => message.type() === "error" && complaints.push(`console: ${message.text()}`));

const expectText = async (text, where = page) => {
  await where.getByText(text, { exact: false }).first().waitFor({ timeout: 15_000 });
};
const shot = (part, options = {}) => page.screenshot({ path: join(folder, `${moment}-${part}.png`), ...options });

try {
  await page.goto(link);
  await page.getByRole("heading", { name: "Experiments" }).waitFor({ timeout: 15_000 });
  await expectText(name);
  await shot("list");
  await page.getByRole("link", { name, exact: true }).click();
  await page.getByRole("heading", { name }).waitFor({ timeout: 15_000 });
  if (moment === "live") {
    const live = page.getByLabel("Live trial");
    await live.waitFor({ timeout: 15_000 });
    await expectText("measuring", live);
    // The number moves: it is the agent's, not a picture.
    const figure = live.locator("dd").first();
    const before = await figure.textContent();
    await page.waitForFunction(([element, text]) => element?.textContent !== text, [await figure.elementHandle(), before], { timeout: 15_000 });
    await live.locator("canvas").waitFor({ timeout: 15_000 });
  } else {
    await expectText("Succeeded");
    await page.getByRole("table").first().waitFor({ timeout: 15_000 });
    await expectText("Batch size");
    const plot = page.locator(".plots img").first();
    await plot.scrollIntoViewIfNeeded();
    await page.waitForFunction((image) => image.complete && image.naturalWidth > 100, await plot.elementHandle(), { timeout: 20_000 });
  }
  await shot("experiment", { fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 420, height: 900 });
  await shot("experiment-narrow-dark", { fullPage: true });
  if (complaints.length > 0) throw new Error(complaints.join("\n"));
} catch (error) {
  await shot("failed", { fullPage: true }).catch(() => {});
  console.error(error.message, "\n", await page.locator("body").innerText().catch(() => ""));
  process.exitCode = 1;
} finally {
  await context.close();
}
