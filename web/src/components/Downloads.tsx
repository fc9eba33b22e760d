import { experimentPath } from "../api/client";

const files = [
  ["report.html", "Report"],
  ["report.md", "Markdown"],
  ["report.txt", "Text"],
  ["report.csv", "CSV"],
  ["report.json", "JSON"],
  ["report.zip", "All files (zip)"],
] as const;

export function Downloads({ name }: { name: string }) {
  return (
    <p class="downloads">
      {files.map(([file, label]) => (
        <a key={file} href={`${experimentPath(name)}/${file}`}>
          {label}
        </a>
      ))}
    </p>
  );
}
