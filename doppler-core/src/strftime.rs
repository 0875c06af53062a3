//! Dates for chat templates that print one, in UTC and English. Templates use a few of C's conversions only.

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
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// `seconds` since 1970 written as `format` says.
///
/// # Errors
/// The letter of a conversion that is not known.
pub fn strftime(format: &str, seconds: u64) -> Result<String, char> {
    let days = seconds / 86_400;
    let (year, month, day, year_day) = civil(days);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let month_name = MONTHS[month - 1];
    let day_name = DAYS[(days % 7) as usize];
    let mut out = String::with_capacity(format.len() + 16);
    let mut letters = format.chars();
    while let Some(c) = letters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut letter = letters.next().unwrap_or('%');
        // Without padding: `%-d`.
        let plain = letter == '-';
        if plain {
            letter = letters.next().unwrap_or('-');
        }
        let two = |n: u64| if plain { n.to_string() } else { format!("{n:02}") };
        let text = match letter {
            'Y' => year.to_string(),
            'y' => two(year % 100),
            'm' => two(month as u64),
            'd' => two(day),
            'e' => format!("{day:2}"),
            'j' => format!("{year_day:03}"),
            'H' => two(hour),
            'I' => two((hour + 11) % 12 + 1),
            'M' => two(minute),
            'S' => two(second),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'B' => month_name.to_owned(),
            'b' | 'h' => month_name[..3].to_owned(),
            'A' => day_name.to_owned(),
            'a' => day_name[..3].to_owned(),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'Z' => "UTC".to_owned(),
            'z' => "+0000".to_owned(),
            '%' => "%".to_owned(),
            other => return Err(other),
        };
        out.push_str(&text);
    }
    Ok(out)
}

/// Year, month from 1, day from 1 and day of the year from 1.
fn civil(days: u64) -> (u64, usize, u64, u64) {
    // 400 years always have the same number of days; going through the years of the last 400 is cheap and plain.
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let mut year = 1970 + days / DAYS_OF_400_YEARS * 400;
    let mut left = days % DAYS_OF_400_YEARS;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let year_day = left + 1;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1, year_day)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn known_dates() {
        let cases = [
            (0, "1970-01-01 00:00:00 Thu 001 12 AM"),
            (951_782_399, "2000-02-28 23:59:59 Mon 059 11 PM"),
            (951_868_799, "2000-02-29 23:59:59 Tue 060 11 PM"),
            (4_107_542_400, "2100-03-01 00:00:00 Mon 060 12 AM"),
            (1_798_761_599, "2026-12-31 23:59:59 Thu 365 11 PM"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(strftime("%F %T %a %j %I %p", seconds).unwrap(), expected);
        }
        assert_eq!(strftime("%A, %-d. %B %y %% %b%Z", 1_722_384_000).unwrap(), "Wednesday, 31. July 24 % JulUTC");
    }

    #[test]
    fn odd_formats() {
        assert_eq!(strftime("100%", 0).unwrap(), "100%");
        assert_eq!(strftime("%Q", 0), Err('Q'));
        assert_eq!(strftime("%-", 0), Err('-'));
        assert!(strftime("%F", u64::MAX).is_ok());
    }
}
