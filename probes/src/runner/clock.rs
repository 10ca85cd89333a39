//! The time of day as reports write it, and names of runs.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};

/// Year, month, day, hour, minute, second in UTC of a count of seconds since 1970.
fn civil(seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    // Days counted from 1 March of year 0, so that a leap day is the last of its year, in eras of 400 years
    // (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let days = seconds / 86_400 + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = days / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    let second = seconds % 86_400;
    (
        year,
        month,
        day,
        second / 3_600,
        second / 60 % 60,
        second % 60,
    )
}

/// A moment as RFC 3339 in UTC, to the second: `2026-11-23T06:01:02Z`.
pub fn rfc3339(moment: SystemTime) -> String {
    let (year, month, day, hour, minute, second) = civil(since_epoch(moment));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A new name for a run that began at `moment`: `20261123T060102Z-9f3a`.
pub fn run_id(moment: SystemTime) -> String {
    let (year, month, day, hour, minute, second) = civil(since_epoch(moment));
    // The keys of a new RandomState are random; two runs of one second differ by them.
    let random = RandomState::new().build_hasher().finish() & 0xffff;
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{random:04x}")
}

fn since_epoch(moment: SystemTime) -> u64 {
    moment
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_right_around_leap_days_and_centuries() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_795_413_662), "2026-11-23T06:01:02Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
