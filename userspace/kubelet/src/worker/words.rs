//! The last words of containers: a file they may write, or the end of their log.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::Worker;
use crate::logs::line;
use crate::observe::{Container, Stage};
use crate::role;
use crate::volume::mounts;

/// The API takes no more.
const MOST_FILE: u64 = 4096;
const MOST_LOG: u64 = 2048;
const MOST_LINES: usize = 80;

impl Worker {
    /// Reads the last words of containers that have ended since the last look.
    pub(super) async fn hear_last_words(&mut self) {
        let ended: Vec<Container> = self
            .observed
            .containers
            .iter()
            .filter(|container| container.stage == Stage::Exited)
            .filter(|container| !self.memory.last_words.contains_key(&container.id))
            .cloned()
            .collect();
        for container in ended {
            let words = self.read_words(&container).await;
            self.memory.last_words.insert(container.id, words);
        }
    }

    async fn read_words(&self, container: &Container) -> String {
        let folder = self.kubelet.folder(&self.id);
        let path = mounts::words_path(&container.name, &folder, container.attempt);
        let words = tail(&path, MOST_FILE).await;
        if !words.is_empty() {
            return words;
        }
        let members = role::all(&self.pod);
        let member = members.iter().find(|member| member.name() == container.name);
        let policy = member.and_then(|m| m.container.termination_message_policy.as_deref());
        match policy {
            Some("FallbackToLogsOnError") if container.exit_code != 0 => {
                log_end(&tail(Path::new(&container.log_path), MOST_LOG * 4).await)
            }
            _ => String::new(),
        }
    }
}

/// The last bytes of a file, as text; nothing if it cannot be read.
async fn tail(path: &Path, most: u64) -> String {
    let read = async {
        let mut file = tokio::fs::File::open(path).await?;
        let length = file.metadata().await?.len();
        file.seek(std::io::SeekFrom::Start(length.saturating_sub(most))).await?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read.await.unwrap_or_default()
}

/// What a container printed last, without the runtime's marks.
fn log_end(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(MOST_LINES)..];
    let mut out = String::new();
    for text in last {
        if let Some(line) = line::parse(text.as_bytes()) {
            out.push_str(&String::from_utf8_lossy(line.text));
            if line.is_whole {
                out.push('\n');
            }
        }
    }
    let most = usize::try_from(MOST_LOG).unwrap_or(usize::MAX);
    let mut begin = out.len().saturating_sub(most);
    while !out.is_char_boundary(begin) {
        begin += 1;
    }
    out[begin..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log() {
        let text =
            "broken\n2026-01-01T00:00:00Z stderr P half\n2026-01-01T00:00:00Z stderr F  whole\n";
        assert_eq!(log_end(text), "half whole\n");
    }
}
