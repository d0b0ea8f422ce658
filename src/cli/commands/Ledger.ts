/**
 * `mpp ledger export` and `mpp ledger verify`: the ledger for an auditor.
 *
 * @since 0.1.0
 */
import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import * as Wallet from "../../Wallet.ts"
import type { Agents } from "../Agents.ts"
import { Broken, Usage } from "../Exit.ts"
import * as Export from "../Export.ts"
import * as ExportCheck from "../ExportCheck.ts"
import * as Output from "../Output.ts"
import * as PrivateFile from "../PrivateFile.ts"
import * as Report from "../Report.ts"
import * as Table from "../Table.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Export
// ---------------------------------------------------------------------------------------------------------------------

const keyToSign = Effect.flatMap(
  Config.option(Wallet.privateKey("MPP_PRIVATE_KEY")),
  Option.match({
    onNone: () => Effect.fail(new Usage({ message: "--sign signs with the key of MPP_PRIVATE_KEY, which is not set" })),
    onSome: Effect.succeed
  })
)

const exportNow = Effect.fnUntraced(function*(input: {
  readonly sign: boolean
  readonly output: Option.Option<string>
}) {
  const key = input.sign ? Option.some(yield* keyToSign) : Option.none()
  const end = yield* Ref.make("")
  const lines = Stream.tap(
    yield* Export.lines(key),
    (line) => line.startsWith("{\"type\":\"end\"") ? Ref.set(end, line) : Effect.void
  )
  if (Option.isNone(input.output) || input.output.value === "-") return yield* Output.printLines(lines)
  yield* PrivateFile.write(input.output.value, lines)
  yield* Output.note(`the SHA-256 of its end is ${Export.digest(yield* Ref.get(end))}`)
})

const exportCommand = (agents: Agents) =>
  Command.make("export", {
    sign: Flag.Boolean("sign").pipe(
      Flag.withDescription("Sign the end of it with the key of MPP_PRIVATE_KEY (EIP-191)"),
      Flag.withDefault(false)
    ),
    output: Flag.String("output").pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("FILE"),
      Flag.withDescription("Write it there instead of to stdout, for you alone (0600)"),
      Flag.optional
    )
  }, (input) => Report.withAgent(exportNow(input), agents())).pipe(
    Command.withDescription(
      "Write all purchases and sessions with their evidence, and what left the wallet without this ledger, as JSON lines, " +
        "each of which names the SHA-256 of the line before it. Without a signature that shows accidents, and changes to those who keep the last digest elsewhere"
    ),
    Command.withExamples([
      { command: "mpp ledger export --sign -o ledger.jsonl", description: "For an auditor" }
    ])
  )

// ---------------------------------------------------------------------------------------------------------------------
// Verify
// ---------------------------------------------------------------------------------------------------------------------

interface Input {
  readonly file: string
  readonly signer: Option.Option<string>
}

const checkSigner = Effect.fnUntraced(function*(whole: ExportCheck.Whole, wanted: string) {
  if (Option.exists(whole.signer, (signer) => signer.toLowerCase() === wanted.toLowerCase())) return
  return yield* new Broken({
    line: whole.lines,
    message: Option.match(whole.signer, {
      onNone: () => "The file is whole, and nobody has signed it",
      onSome: (signer) => `The file is whole, and signed by another address: ${signer}`
    })
  })
})

const verifyNow = Effect.fnUntraced(function*({ file, signer }: Input) {
  const files = yield* FileSystem.FileSystem
  const whole = yield* ExportCheck.check(
    files.stream(file).pipe(Stream.decodeText(), Stream.splitLines)
  )
  if (Option.isSome(signer)) yield* checkSigner(whole, signer.value)
  const { header } = whole
  if (yield* Output.Json) {
    return yield* Output.printJson({
      ledger: header.ledger,
      generation: header.generation,
      exportedAt: header.exportedAt,
      version: header.version,
      lines: whole.lines,
      purchases: whole.purchases,
      sessions: whole.sessions,
      foreign: whole.foreign,
      head: whole.head,
      signer: Option.getOrNull(whole.signer)
    })
  }
  yield* Output.print([
    `All ${whole.lines} lines are as they were written.`,
    Table.indent(Table.list([
      ["ledger", `${header.ledger}, generation ${header.generation}`],
      ["exported", header.exportedAt],
      ["holds", `${whole.purchases} purchases, ${whole.sessions} sessions, ${whole.foreign} payments of others`],
      ["sha256", whole.head],
      ["signed by", Option.getOrElse(whole.signer, () => "nobody")]
    ])),
    ...(Option.isSome(whole.signer) ? [] : [
      "Nobody has signed it: whoever could write this file could write another one that is as whole, so compare the SHA-256 " +
      "with one that was kept elsewhere."
    ])
  ].join("\n"))
})

const verifyCommand = Command.make(
  "verify",
  {
    file: Argument.String("file").pipe(Argument.withDescription("What `mpp ledger export` wrote")),
    signer: Flag.String("signer").pipe(
      Flag.withMetavar("ADDRESS"),
      Flag.withDescription("Only if this address has signed it"),
      Flag.mapEffect((text) =>
        /^0x[0-9a-f]{40}$/i.test(text) ? Effect.succeed(text) : Effect.fail(
          new CliError.InvalidValue({
            kind: "flag",
            option: "signer",
            value: text.slice(0, 80),
            expected: "Expected an address: 0x and 40 hexadecimal digits"
          })
        )
      ),
      Flag.optional
    )
  },
  (input) =>
    Effect.flatMap(Output.Json, (json) => Effect.catch(verifyNow(input), (error) => Report.failed(error, json)))
).pipe(
  Command.withDescription("Check that an exported ledger is as it was written, and say which line is not")
)

/**
 * The commands, with the agents whose ledger they read.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("ledger").pipe(
    Command.withDescription("Export the ledger, and check what was exported"),
    Command.withSubcommands([exportCommand(agents), verifyCommand])
  )
