import type { Cell, Parity, Percentile, Results } from "../api/types";
import { bytes, estimate, loadLevel, number, percentile } from "../format";

/** Sentences shown without a click. */
const AT_A_GLANCE = 6;

export function ResultsTable({ results }: { results: Results }) {
  const measured = results.cells.filter((cell) => cell.repetitions + cell.failed + cell.invalid + cell.inconclusive > 0);
  if (measured.length === 0) return null;
  const gpu = measured.some((cell) => cell.resources.gpuUtilization !== null);
  const best = measured.length > 1 ? bestPerBatch(measured) : new Set<Cell>();
  return (
    <section>
      <h2>Results{results.complete ? "" : " so far"}</h2>
      {results.warnings.map((warning) => (
        <p class="warning" key={warning}>
          {warning}
        </p>
      ))}
      <Sentences all={results.sentences} />
      <div class="scroll">
        <table class="results">
          <thead>
            <tr>
              <th>Backend</th>
              <th class="num">Batch size</th>
              <th>Load</th>
              <th class="num">Texts/s [95 % interval]</th>
              <th class="num">p50 ms</th>
              <th class="num">p95 ms</th>
              <th class="num">p99 ms</th>
              <th class="num">Success</th>
              {gpu ? <th class="num">GPU</th> : <th class="num">CPU cores</th>}
              <th class="num">Memory</th>
              <th>Vectors</th>
              <th class="num">Valid trials</th>
            </tr>
          </thead>
          <tbody>
            {measured.map((cell) => (
              <tr key={`${cell.backend} ${cell.batchSize} ${loadLevel(cell.load)}`} class={best.has(cell) ? "best" : ""}>
                <td>{cell.backend}</td>
                <td class="num">{cell.batchSize}</td>
                <td>{loadLevel(cell.load)}</td>
                <Speed cell={cell} />
                <Carried value={cell.latencyMs.p50} />
                <Carried value={cell.latencyMs.p95} />
                <Carried value={cell.latencyMs.p99} />
                <td class="num">{cell.successRate === null ? "—" : `${number(cell.successRate * 100)} %`}</td>
                <td class="num">{gpu ? (cell.resources.gpuUtilization === null ? "—" : `${number(cell.resources.gpuUtilization * 100)} %`) : number(cell.resources.cpuCores)}</td>
                <td class="num">{bytes(cell.resources.memoryPeakBytes)}</td>
                <Quality parity={results.parity.find((parity) => parity.backend === cell.backend)} />
                <td class="num" title={trials(cell)}>
                  {cell.repetitions} of {cell.repetitions + cell.inconclusive + cell.invalid + cell.failed}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="dim">Bold: highest mean of texts/s at its batch size; whether that is a difference, the sentences above say. "—": too few samples to carry the number; point at it for the reason.</p>
      <ul class="parity">
        {results.parity.map((parity) => (
          <li key={parity.backend} class={parity.verdict}>
            <b>{parity.backend}</b> vectors {parity.verdict}: {parity.message}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The first ones at a glance, the others a click away. */
function Sentences({ all }: { all: string[] }) {
  const [first, others] = [all.slice(0, AT_A_GLANCE), all.slice(AT_A_GLANCE)];
  return (
    <div class="sentences">
      <List sentences={first} />
      {others.length > 0 && (
        <details>
          <summary>{others.length === 1 ? "one more comparison" : `${others.length} more comparisons`}</summary>
          <List sentences={others} />
        </details>
      )}
    </div>
  );
}

function List({ sentences }: { sentences: string[] }) {
  return (
    <ul>
      {sentences.map((sentence) => (
        <li key={sentence}>{sentence}</li>
      ))}
    </ul>
  );
}

/** A failed parity gate voids the speed, whatever was measured. */
function Speed({ cell }: { cell: Cell }) {
  if (cell.void === undefined) return <td class="num">{estimate(cell.textsPerSecond)}</td>;
  return (
    <td class="num failed" title={cell.void}>
      void
    </td>
  );
}

/** Whether the vectors agree; where nothing is required of them (`parity: report`), by how much they do not. */
function Quality({ parity }: { parity: Parity | undefined }) {
  if (parity === undefined) return <td>—</td>;
  const neighbours = parity.neighbourOverlap === null ? "" : `, ${number(parity.neighbourOverlap * 100)} % of neighbours`;
  const words = {
    passed: "agree",
    failed: "wrong",
    unknown: "unchecked",
    reported: parity.minCosine === null ? "—" : `cosine ≥ ${parity.minCosine.toFixed(4)}${neighbours}`,
  };
  return (
    <td class={parity.verdict} title={parity.message}>
      {words[parity.verdict]}
    </td>
  );
}

function Carried({ value }: { value: Percentile }) {
  return (
    <td class="num" title={value.withheld}>
      {percentile(value)}
    </td>
  );
}

function trials(cell: Cell): string {
  const notes = [`${cell.repetitions} valid`];
  if (cell.inconclusive > 0) notes.push(`${cell.inconclusive} inconclusive`);
  if (cell.invalid > 0) notes.push(`${cell.invalid} invalid`);
  if (cell.failed > 0) notes.push(`${cell.failed} failed`);
  return notes.join(", ");
}

function bestPerBatch(cells: Cell[]): Set<Cell> {
  const best = new Map<string, Cell>();
  for (const cell of cells) {
    if (cell.textsPerSecond === null) continue;
    const key = `${cell.batchSize} ${loadLevel(cell.load)}`;
    const known = best.get(key)?.textsPerSecond?.mean ?? 0;
    if (cell.textsPerSecond.mean > known) best.set(key, cell);
  }
  return new Set(best.values());
}
