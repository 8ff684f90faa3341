//! The `multiconn-client` program: see `multiconn::cli`.

fn main() -> std::process::ExitCode {
    multiconn::cli::client_main()
}
