import type { WriteStream } from 'node:tty';
import type { Progress } from '../retention/options.ts';

const barWidth = 30;
const lineEveryMs = 5_000;
const number = new Intl.NumberFormat('en-US');

/** Shows how far an operation is: a bar that is drawn over on a terminal, a plain line now and then elsewhere. */
export function progressReporter(stream: WriteStream): { show(progress: Progress): void; end(): void } {
  let drawn = false;
  let lastLine = 0;
  return {
    show(progress) {
      if (stream.isTTY) {
        stream.write(`\r\u001b[K${bar(progress)}`);
        drawn = true;
      } else if (Date.now() - lastLine >= lineEveryMs) {
        stream.write(`${text(progress)}\n`);
        lastLine = Date.now();
      }
    },
    end() {
      if (drawn) stream.write('\r\u001b[K');
    },
  };
}

function text({ operation, rows, due }: Progress): string {
  return `${operation}: ${number.format(rows)} of ${number.format(Math.max(rows, due))} rows`;
}

function bar(progress: Progress): string {
  const share = progress.due === 0 ? 1 : Math.min(1, progress.rows / progress.due);
  const filled = Math.round(share * barWidth);
  return `[${'#'.repeat(filled)}${' '.repeat(barWidth - filled)}] ${text(progress)}`;
}
