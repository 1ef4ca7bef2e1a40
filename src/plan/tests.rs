use super::*;

fn lecture(students: u64) -> Lecture {
    Lecture { students, video_bits: 2_500_000.0, fps: 30.0, joining: Duration::from_secs(60) }
}

fn machine(uplink: f64) -> Machine {
    Machine { uplink, cores: 2.0, memory: 4e9 }
}

#[test]
fn a_stream_has_the_packets_and_the_headers_of_the_bench() {
    let stream = lecture(1).stream();
    // The bench sends 97,642 packets a second to 300 students, of shorter packets at the end of each picture.
    assert!((stream.packets - 320.0).abs() < 10.0, "{stream:?}");
    assert!(stream.bits > 2_532_000.0 + 300.0 * 100.0 * 8.0, "{stream:?}");
}

#[test]
fn a_small_class_needs_its_teacher_only() {
    let plan = plan(&lecture(200), &machine(1e9), &Costs::default()).unwrap();
    assert_eq!((plan.shape, plan.of_edge), (Shape::Origin, None));
    assert_eq!((plan.of_origin.streams, plan.origin.bottleneck()), (200, Bottleneck::Uplink));
}

#[test]
fn the_first_bottleneck_is_named() {
    let costs = Costs::default();
    let of = |machine: Machine| {
        let plan = plan(&lecture(1), &machine, &costs).unwrap();
        plan.edge.bottleneck()
    };
    assert_eq!(of(machine(1e9)), Bottleneck::Uplink);
    assert_eq!(of(machine(10e9)), Bottleneck::Cpu);
    assert_eq!(of(Machine { memory: 100e6, ..machine(10e9) }), Bottleneck::Memory);
}

#[test]
fn no_machine_of_a_plan_has_more_than_it_carries_and_every_student_has_a_place() {
    for students in [1, 2, 250, 265, 266, 999, 10_000, 13_000, 14_000, 100_000] {
        for uplink in [20e6, 100e6, 1e9, 10e9] {
            match plan(&lecture(students), &machine(uplink), &Costs::default()) {
                Ok(plan) => {
                    let (origin, edge) = (plan.origin.streams(), plan.edge.streams());
                    match plan.shape {
                        Shape::Origin => assert!(students <= origin),
                        Shape::Edges { edges, students_of_each } => {
                            assert!(edges <= origin && students_of_each <= edge);
                            assert!(edges * students_of_each >= students && edges < students);
                        }
                    }
                }
                Err(Impossible::TooManyEdges { edges, possible }) => {
                    assert!(edges > possible);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn ten_thousand_students_need_edges_on_a_gigabit_each() {
    let plan = plan(&lecture(10_000), &machine(1e9), &Costs::default()).unwrap();
    let Shape::Edges { edges, students_of_each } = plan.shape else { panic!("{plan:?}") };
    assert!((35..45).contains(&edges) && (220..290).contains(&students_of_each), "{plan:?}");
    let edge = plan.of_edge.unwrap();
    assert!(edge.bits < 750e6 && edge.cores < 1.4 && plan.of_origin.bits < 150e6, "{plan:?}");
    assert!(plan.of_joins < 0.01, "{plan:?}");
}

#[test]
fn a_machine_that_carries_nobody_is_no_plan() {
    let plan = plan(&lecture(10), &machine(2e6), &Costs::default());
    assert_eq!(plan, Err(Impossible::Machine(Bottleneck::Uplink)));
}
