//! Calls that stream or download: logs, the job script, reports and plots.

use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::Method;

use super::experiments::{experiment_path, with_query};
use super::{Client, ClientError};
use crate::status::LogLine;

/// A report with plots is computed on request; a followed log ends when the experiment does.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(365 * 86_400);
/// Longer than any line that the server stores; a peer that sends no newline must not fill our memory.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

impl Client {
    /// Log lines behind position `after`, oldest first. With `follow` the stream stays open until the experiment ends; when it
    /// breaks, ask again with the last `seq` seen.
    pub async fn logs(&self, name: &str, after: Option<u64>, follow: bool) -> Result<LogStream, ClientError> {
        let pairs = [("after", &after.map(|after| after.to_string())), ("follow", &follow.then(|| "true".to_owned()))];
        let request = self.request(Method::GET, &with_query(&experiment_path(name, "/logs")?, &pairs));
        let response = self.send(request.timeout(if follow { FOLLOW_TIMEOUT } else { DOWNLOAD_TIMEOUT })).await?;
        let url = response.url().to_string();
        let bytes = response.bytes_stream().map_ok(|chunk| chunk.to_vec()).boxed();
        Ok(LogStream { bytes, lines: Lines::default(), url })
    }

    /// The sbatch text.
    pub async fn script(&self, name: &str) -> Result<String, ClientError> {
        let response = self.send(self.request(Method::GET, &experiment_path(name, "/script")?)).await?;
        let url = response.url().to_string();
        response.text().await.map_err(|source| ClientError::Answer { url, source })
    }

    /// All files of the report, zipped.
    pub async fn report_zip(&self, name: &str) -> Result<Vec<u8>, ClientError> {
        self.download(&experiment_path(name, "/report.zip")?).await
    }

    /// One file of the report by its ending: `html`, `md`, `txt`, `json` or `csv`.
    pub async fn report_file(&self, name: &str, ending: &str) -> Result<Vec<u8>, ClientError> {
        self.download(&experiment_path(name, &format!("/report.{ending}"))?).await
    }

    /// One plot, for example `throughput_comparison.png`.
    pub async fn plot(&self, name: &str, file: &str) -> Result<Vec<u8>, ClientError> {
        self.download(&experiment_path(name, &format!("/plots/{file}"))?).await
    }

    async fn download(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let response = self.send(self.request(Method::GET, path).timeout(DOWNLOAD_TIMEOUT)).await?;
        let url = response.url().to_string();
        match response.bytes().await {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(source) => Err(ClientError::Unreachable { url, source }),
        }
    }
}

/// Log lines as they arrive.
pub struct LogStream {
    bytes: BoxStream<'static, Result<Vec<u8>, reqwest::Error>>,
    lines: Lines,
    url: String,
}

impl LogStream {
    /// The next line; `None` when the server has closed the stream in good order. A line that is no log line (a newer server's
    /// comment, a heartbeat) is passed over. Errors: the connection broke.
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        loop {
            while let Some(line) = self.lines.pop() {
                if let Ok(line) = serde_json::from_slice(&line) {
                    return Ok(Some(line));
                }
            }
            match self.bytes.next().await {
                Some(Ok(chunk)) => self.lines.push(&chunk),
                Some(Err(source)) => return Err(ClientError::Unreachable { url: self.url.clone(), source }),
                None => return Ok(None),
            }
        }
    }
}

/// Cuts a stream of bytes at newlines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    /// Everything before it holds no newline.
    searched: usize,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) {
        if self.buffer.len() > LONGEST_LINE {
            self.buffer.clear();
            self.searched = 0;
        }
        self.buffer.extend_from_slice(chunk);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + found + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.buffer, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_any_cut_between_chunks() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\nrest";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for chunk in text.chunks(size) {
                lines.push(chunk);
                while let Some(line) = lines.pop() {
                    found.push(String::from_utf8(line).expect("text"));
                }
            }
            assert_eq!(found, ["{\"a\":1}\n", "\n", "{\"b\":2}\n"], "chunks of {size}");
        }
    }
}
