//! The reports of `bench` as tables on stdout.

use serde_json::Value;

/// One prompt and its answer: numbers a line each, steps of several rows, variants, and kernels with their times.
pub fn of_prompt(report: &Value) {
    let Some(fields) = report.as_object() else { return };
    let nested = ["decode_kernels", "prefill_kernels", "kernel_variants", "rows"];
    for (name, value) in fields.iter().filter(|(name, _)| !nested.contains(&name.as_str())) {
        println!("{name:26} {value}");
    }
    let rows: Vec<&Value> = report["rows"].as_array().into_iter().flatten().collect();
    for value in &rows {
        let number = |name: &str| value[name].as_f64().unwrap_or(0.0);
        let (us, one) = (number("us"), number("one_row_us"));
        println!(
            "{:26} {us:.0} µs, {:.2} times the {one:.0} of one",
            format!("{} rows", value["rows"]),
            number("ratio")
        );
    }
    for (kernel, variant) in report["kernel_variants"].as_object().into_iter().flatten() {
        println!("  {kernel:24} {}", variant.as_str().unwrap_or_default());
    }
    let mut times =
        vec![("decode".to_owned(), &report["decode_kernels"]), ("prompt".to_owned(), &report["prefill_kernels"])];
    times.extend(rows.iter().map(|value| (format!("{} rows", value["rows"]), &value["kernels"])));
    for (what, kernels) in times.into_iter().filter(|(_, kernels)| kernels.is_object()) {
        println!("{what}");
        for (kernel, value) in kernels.as_object().into_iter().flatten() {
            println!(
                "  {kernel:24} {:>4} runs {:>9.1} µs",
                value["runs"].as_u64().unwrap_or(0),
                value["us"].as_f64().unwrap_or(0.0)
            );
        }
    }
}

/// One context as it grows: a line for each depth.
pub fn by_depth(report: &Value) {
    let scalars = report.as_object().into_iter().flatten().filter(|(_, value)| !value.is_array());
    scalars.for_each(|(name, value)| println!("{name:26} {value}"));
    println!(
        "{:>8} {:>15} {:>14} {:>13} {:>13}",
        "depth", "prefill tok/s", "decode tok/s", "attention µs", "all kernels"
    );
    for row in report["depths"].as_array().into_iter().flatten() {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
        let kernels = row["decode_kernels"].as_object();
        let total = |of: &str| {
            let times =
                kernels?.iter().filter(|(kernel, _)| kernel.starts_with(of)).filter_map(|(_, t)| t["us"].as_f64());
            Some(times.sum())
        };
        println!(
            "{:>8} {:>15} {:>14} {:>13} {:>13}",
            row["depth"].to_string(),
            number(row["prefill_tok_s"].as_f64()),
            number(row["decode_tok_s"].as_f64()),
            number(total("attention")),
            number(total(""))
        );
    }
}
