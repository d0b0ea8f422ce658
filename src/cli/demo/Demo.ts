/**
 * The whole story in under two minutes, on this machine alone: the same requests paid for one by one and by session, then
 * five faults, and books that agree to the last micro-dollar.
 *
 * @since 0.1.0
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { DemoFailed, failed } from "./DemoFailed.ts"
import { timed } from "./Loopback.ts"
import { priceUsd } from "./Merchant.ts"
import * as Report from "./Report.ts"
import * as Scenes from "./Scenes.ts"
import { Screen } from "./Screen.ts"
import * as Workload from "./Workload.ts"
import * as World from "./World.ts"

export {
  /**
   * @category errors
   * @since 0.1.0
   */
  DemoFailed
} from "./DemoFailed.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many requests are paid for in each way. */
  readonly requests: number
  /** Seconds between blocks of the local chain; 0: a block for every transaction, at once. */
  readonly blockTime: number
  /** Print one JSON document on stdout, and nothing else there. */
  readonly json: boolean
}

/** What a whole demo may take, and what of that is not spent on waiting for blocks. */
const limitSeconds = 120
const othersSeconds = 30

/** Fewer requests are not worth a session, and there would be nothing to compare. */
const fewestRequests = 5

const feasible = ({ blockTime, requests }: Options) => {
  const refuse = (why: string) => Effect.fail(new DemoFailed({ what: "The demo was not started", why }))
  if (requests < fewestRequests) {
    return refuse(`${requests} requests are not worth a session, so there is nothing to compare. Ask for 5 or more`)
  }
  if (requests * blockTime > limitSeconds - othersSeconds) {
    const most = Math.floor((limitSeconds - othersSeconds) / blockTime)
    return refuse(
      `${requests} requests at a block every ${blockTime} s take more than two minutes. ` +
        `Ask for ${most} or fewer, or for a shorter block time`
    )
  }
  return Effect.void
}

const story = Effect.fnUntraced(function*({ blockTime, requests }: Options) {
  const screen = yield* Screen
  const world = yield* World.World
  yield* screen.note(`  chain ${world.rpcUrl}, session endpoint ${world.endpoint}, merchant ${world.merchant}`)
  yield* screen.note(
    `${requests} requests, each paid for on the chain (${
      blockTime === 0 ? "a block for every transaction" : `a block every ${blockTime} s`
    })`
  )
  const perRequest = yield* Workload.perRequest(requests)
  yield* screen.note(`${requests} requests, paid for by session`)
  const session = yield* Workload.session(requests)

  yield* screen.note("the same program while things go wrong")
  const scenes = yield* Effect.forEach(
    Scenes.all,
    (scene) => Effect.tap(scene, (played) => screen.say(Report.sceneLines(played)))
  )
  const incomeUsd = yield* Effect.mapError(world.income, failed("The merchant's books could not be read"))

  return {
    network: world.network,
    blockSeconds: blockTime,
    priceUsd,
    workloads: [perRequest, session],
    scenes,
    total: Report.sum([perRequest, session, ...scenes].map(({ money }) => money)),
    incomeUsd
  }
})

const told = Effect.fnUntraced(function*(options: Options) {
  const screen = yield* Screen
  yield* screen.note("starting a chain, a facilitator, a session endpoint and a merchant on this machine")
  const started = Layer.build(World.layer({ blockTime: options.blockTime }))
  const world = yield* Effect.mapError(started, failed("The demo could not start"))
  return yield* Effect.onInterrupt(
    Effect.provide(story(options), world),
    // A payment that is being settled is settled first.
    () => screen.note("stopping all that was started")
  )
})

const tooLong = () =>
  Effect.fail(
    new DemoFailed({
      what: "The demo was stopped",
      why: `it was not done in ${limitSeconds} s. Ask for fewer requests, or for a shorter block time`
    })
  )

/** Nothing of the user's is read, whatever the environment holds. */
const noConfiguration = ConfigProvider.layer(ConfigProvider.fromUnknown({}))

/**
 * Runs the demo. Everything that it starts ends with it, also when it is interrupted.
 *
 * **Details**
 *
 * It contacts this machine only and reads no configuration. Progress goes to stderr, results to stdout. It fails if it
 * could not run, and if any figure of the money is not what it should be; the report has been printed then.
 *
 * @category running
 * @since 0.1.0
 */
export const run = Effect.fn("Demo.run")(
  function*(options: Options) {
    yield* feasible(options)
    const screen = yield* Screen
    const { millis, value } = yield* timed(
      Effect.timeoutOrElse(Effect.scoped(told(options)), { duration: `${limitSeconds} seconds`, orElse: tooLong })
    )
    const report = new Report.Report({ ...value, seconds: millis / 1000 })
    yield* options.json ? screen.document(Report.toJson(report)) : screen.say(`\n${Report.render(report)}`)
    const [objection, ...others] = report.objections
    if (objection !== undefined) {
      return yield* new DemoFailed({ what: "The money is not exact", why: [objection, ...others].join("; ") })
    }
  },
  (effect, options) =>
    effect.pipe(
      Effect.provide(Screen.layer({ quiet: options.json })),
      Effect.provide(noConfiguration)
    )
)
