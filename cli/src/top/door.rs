//! Events at the door of a local stack, as its log tells them.

use crate::live::Counts;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the pace is about, in looks.
const LOOKS: usize = 5;
/// Whoever looks seldom does not read everything at once.
const MAX_READ_BYTES: u64 = 16 << 20;

/// Reads what is new in collect's log.
pub(super) struct Door {
    log: PathBuf,
    read: Option<u64>,
    /// A line that is not finished yet.
    rest: Vec<u8>,
    counts: Counts,
    looks: Vec<(Instant, u64)>,
}

impl Door {
    /// The log of the stack with this state, from its end on.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            log: state.join("logs").join("CollectFunction.log"),
            read: None,
            rest: Vec::new(),
            counts: Counts::default(),
            looks: Vec::new(),
        }
    }

    /// Events received each second, over the last looks. `None` without a log
    /// or before there are two looks.
    pub(super) fn look(&mut self, now: Instant) -> Option<f64> {
        if self.read_on().is_err() {
            self.looks.clear();
            return None;
        }
        self.looks.push((now, self.counts.received));
        if self.looks.len() > LOOKS {
            self.looks.remove(0);
        }
        let ((since, before), (until, after)) = (self.looks.first()?, self.looks.last()?);
        let seconds = until.duration_since(*since).as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        (seconds > 0.0).then(|| (after - before) as f64 / seconds)
    }

    fn read_on(&mut self) -> std::io::Result<()> {
        let mut log = File::open(&self.log)?;
        let length = log.metadata()?.len();
        let from = match self.read {
            Some(read) if read <= length => read,
            // Another stack's: a new log.
            Some(_) => 0,
            None => length,
        };
        if from == 0 || self.read.is_none() {
            self.rest.clear();
        }
        log.seek(SeekFrom::Start(from))?;
        let more = log.take(MAX_READ_BYTES).read_to_end(&mut self.rest)?;
        self.read = Some(from + more as u64);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n');
        let lines: Vec<u8> = self.rest.drain(..whole.map_or(0, |at| at + 1)).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            self.counts.add(line);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::time::Duration;

    #[test]
    fn only_what_comes_is_counted_in_whole_lines_and_new_logs() {
        let state = std::env::temp_dir().join(format!("freshet-door-{}", std::process::id()));
        std::fs::create_dir_all(state.join("logs")).unwrap();
        let path = state.join("logs/CollectFunction.log");
        let mut door = Door::new(&state);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(door.look(at(0)), None);
        let line = |n| format!("{{\"Stage\":\"collect\",\"Received\":{n}}}\n");
        std::fs::write(&path, line(1000)).unwrap();
        assert_eq!(door.look(at(0)), None);
        let mut log = File::options().append(true).open(&path).unwrap();
        let (first, second) = (line(30), line(50));
        write!(log, "{first}{}", &second[..20]).unwrap();
        assert_eq!(door.look(at(1)), Some(30.0));
        write!(log, "{}", &second[20..]).unwrap();
        assert_eq!(door.look(at(2)), Some(40.0));
        std::fs::write(&path, line(20)).unwrap();
        assert_eq!(door.look(at(4)), Some(25.0));
        std::fs::remove_dir_all(state).unwrap();
    }
}
