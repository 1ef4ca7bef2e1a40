//! `classroom devices`
use crate::exit::Failure;
use crate::report::Reporter;
pub(super) async fn run(_reporter: &Reporter) -> Result<(), Failure> {
    Ok(())
}
