//! `strftime_now` of chat templates: the few date formats that templates print, in UTC.

use std::fmt::Write as _;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Formats seconds since 1970-01-01 UTC; a directive that is not known is an `Err` naming it.
pub(crate) fn strftime(format: &str, seconds: u64) -> Result<String, String> {
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    let weekday = DAYS[((days + 4) % 7) as usize];
    let month_name = MONTHS[month as usize - 1];
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let directive = characters.next().ok_or("strftime_now: the format ends in %")?;
        let written = match directive {
            'Y' => write!(text, "{year:04}"),
            'y' => write!(text, "{:02}", year % 100),
            'm' => write!(text, "{month:02}"),
            'd' => write!(text, "{day:02}"),
            'B' => write!(text, "{month_name}"),
            'b' => write!(text, "{}", &month_name[..3]),
            'A' => write!(text, "{weekday}"),
            'a' => write!(text, "{}", &weekday[..3]),
            'H' => write!(text, "{:02}", second_of_day / 3600),
            'M' => write!(text, "{:02}", second_of_day / 60 % 60),
            'S' => write!(text, "{:02}", second_of_day % 60),
            '%' => write!(text, "%"),
            other => {
                return Err(format!(
                    "strftime_now: %{other} is not known; known are %Y %y %m %d %B %b %A %a %H %M %S %%"
                ));
            }
        };
        written.map_err(|error| error.to_string())?;
    }
    Ok(text)
}

/// Year, month and day of a day number since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn known_dates() {
        // Expected texts are those of Python's datetime.fromtimestamp(seconds, timezone.utc).strftime(format).
        assert_eq!(strftime("%Y-%m-%d %H:%M:%S %A", 0).unwrap(), "1970-01-01 00:00:00 Thursday");
        assert_eq!(strftime("%d %b %Y, %a", 951_782_400).unwrap(), "29 Feb 2000, Tue");
        assert_eq!(strftime("%B %d %y %H:%M:%S%%", 1_767_225_599).unwrap(), "December 31 25 23:59:59%");
        assert!(strftime("%Q", 0).unwrap_err().contains("%Q"));
    }
}
