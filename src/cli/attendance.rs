//! The flags of `teach` about the attendance list.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct TypedAttendance {
    /// Write an attendance list to this CSV or JSON file, one row per student, updated during the lecture
    #[arg(long, value_name = "FILE.csv", hide_short_help = true)]
    attendance: Option<PathBuf>,

    /// Say who of this class is missing: a CSV file with the columns user_id and nickname, or one of them
    #[arg(long, value_name = "CLASS.csv", hide_short_help = true)]
    roster: Option<PathBuf>,
}

/// The files of the attendance list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttendanceFiles {
    /// The file to write; JSON if its name ends in `.json`, otherwise CSV.
    pub list: Option<PathBuf>,
    /// The CSV file with the students of the class.
    pub roster: Option<PathBuf>,
}

impl From<TypedAttendance> for AttendanceFiles {
    fn from(typed: TypedAttendance) -> Self {
        Self { list: typed.attendance, roster: typed.roster }
    }
}
