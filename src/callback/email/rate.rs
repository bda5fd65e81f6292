//! How many mails may go out within a time. Pure.

use std::{collections::VecDeque, str::FromStr, time::Duration};

use tokio::time::Instant;

/// So many within a time: `30/min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub most: u16,
    /// Within what time.
    pub within: Duration,
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FAULT: &str = "needs a number and a time, like 30/min, 5/s, 200/hour or 1000/day";
        let (most, within) = text.split_once('/').ok_or(FAULT)?;
        let most = most.trim().parse().ok().filter(|most| *most > 0).ok_or(FAULT)?;
        let within = match within.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3_600,
            "d" | "day" => 86_400,
            _ => return Err(FAULT),
        };
        Ok(Self { most, within: Duration::from_secs(within) })
    }
}

/// The mails of the last while.
#[derive(Debug)]
pub struct Window {
    rate: Rate,
    sent: VecDeque<Instant>,
}

impl Window {
    /// A window in which nothing was sent yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, sent: VecDeque::new() }
    }

    /// Counts a mail at `now`; or, where there have been enough, how long it has to wait.
    pub fn take(&mut self, now: Instant) -> Option<Duration> {
        while self.sent.front().is_some_and(|first| now.duration_since(*first) >= self.rate.within)
        {
            self.sent.pop_front();
        }
        if self.sent.len() < usize::from(self.rate.most) {
            self.sent.push_back(now);
            return None;
        }
        let first = self.sent.front()?;
        Some(self.rate.within.saturating_sub(now.duration_since(*first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        let rate = |most, seconds| Ok(Rate { most, within: Duration::from_secs(seconds) });
        for (text, want) in [
            ("30/min", rate(30, 60)),
            ("5 / s", rate(5, 1)),
            ("200/hour", rate(200, 3_600)),
            ("1000/d", rate(1_000, 86_400)),
        ] {
            assert_eq!(text.parse(), want, "{text}");
        }
        for bad in ["", "30", "0/min", "30/week", "-1/s", "x/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mail_over_the_rate_waits_until_the_first_is_old_enough() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new("2/min".parse().unwrap());
        assert_eq!(window.take(at(0)), None);
        assert_eq!(window.take(at(10)), None);
        assert_eq!(window.take(at(20)), Some(Duration::from_secs(40)));
        assert_eq!(window.take(at(59)), Some(Duration::from_secs(1)));
        assert_eq!(window.take(at(60)), None);
        assert_eq!(window.take(at(61)), Some(Duration::from_secs(9)));
    }
}
