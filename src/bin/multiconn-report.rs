//! The `multiconn-report` program: see `multiconn::cli`.

fn main() -> std::process::ExitCode {
    multiconn::cli::report_main()
}
