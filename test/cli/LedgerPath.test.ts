import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Environment from "../../src/cli/Environment.ts"
import * as LedgerPath from "../../src/cli/LedgerPath.ts"

const given = (environment: { [name: string]: string }, platform = "linux") =>
  Effect.provide(LedgerPath.place(platform), Environment.layer(Environment.take(environment)))

describe("the ledger of the executable", () => {
  const defaults: ReadonlyArray<readonly [string, { [name: string]: string }, string]> = [
    ["linux", { HOME: "/home/ada" }, "/home/ada/.local/state/effect-mpp/ledger.sqlite"],
    ["linux", { HOME: "/home/ada", MPP_LEDGER: "" }, "/home/ada/.local/state/effect-mpp/ledger.sqlite"],
    ["linux", { HOME: "/home/ada", XDG_STATE_HOME: "/var/state" }, "/var/state/effect-mpp/ledger.sqlite"],
    ["linux", { HOME: "/home/ada", XDG_STATE_HOME: "state" }, "/home/ada/.local/state/effect-mpp/ledger.sqlite"],
    ["darwin", { HOME: "/Users/ada" }, "/Users/ada/Library/Application Support/effect-mpp/ledger.sqlite"],
    [
      "win32",
      { LOCALAPPDATA: "C:\\Users\\ada\\AppData\\Local" },
      "C:\\Users\\ada\\AppData\\Local\\effect-mpp\\ledger.sqlite"
    ]
  ]
  it.effect.each(defaults)(
    "is in the user's state directory on %s: %j",
    ([platform, environment, filename]) =>
      Effect.map(given(environment, platform), (place) => {
        assert.deepStrictEqual(place, { _tag: "File", filename })
      })
  )

  it.effect("is the file that MPP_LEDGER names, from the home directory if it says so", () =>
    Effect.gen(function*() {
      const file = (MPP_LEDGER: string) => given({ HOME: "/home/ada", MPP_LEDGER })
      assert.deepStrictEqual(yield* file("./ledger.sqlite"), { _tag: "File", filename: "./ledger.sqlite" })
      assert.deepStrictEqual(yield* file("/srv/ledger"), { _tag: "File", filename: "/srv/ledger" })
      assert.deepStrictEqual(yield* file("~/ledger"), { _tag: "File", filename: "/home/ada/ledger" })
    }))

  it.effect("is the database that MPP_LEDGER names, whose password does not show", () =>
    Effect.gen(function*() {
      for (const scheme of ["postgres", "postgresql"]) {
        const place = yield* given({ MPP_LEDGER: `${scheme}://ada:secret@db.example/ledger` })
        assert.isTrue(
          place._tag === "Postgres" && Redacted.value(place.url) === `${scheme}://ada:secret@db.example/ledger`
        )
        assert.notInclude(JSON.stringify(place), "secret")
      }
    }))

  it.effect("is none for who signs nothing, where nobody names one and there is no home", () =>
    Effect.gen(function*() {
      const ifAny = (environment: { [name: string]: string }) =>
        Effect.provide(LedgerPath.placeIfAny("linux"), Environment.layer(Environment.take(environment)))
      assert.isTrue(Option.isNone(yield* ifAny({})))
      for (const environment of [{ HOME: "/home/ada" }, { MPP_LEDGER: "/srv/ledger" }]) {
        assert.deepStrictEqual(yield* ifAny({ ...environment }), Option.some(yield* given({ ...environment })))
      }
      assert.match((yield* Effect.flip(ifAny({ MPP_LEDGER: "~/ledger" }))).message, /home directory of this user/)
      assert.match((yield* Effect.flip(ifAny({ MPP_LEDGER: "mysql://x" }))).message, /must be a file or a postgres/)
    }))

  it.effect("is not guessed where nothing is known, or where another database is meant", () =>
    Effect.gen(function*() {
      const words = (environment: { [name: string]: string }) =>
        Effect.map(Effect.flip(given(environment)), (error) => error.message)
      assert.match(yield* words({}), /home directory of this user is not known.*MPP_LEDGER/)
      assert.match(yield* words({ MPP_LEDGER: "~/ledger" }), /home directory of this user is not known/)
      const other = yield* words({ MPP_LEDGER: "mysql://ada:secret@db.example/ledger" })
      assert.match(other, /must be a file or a postgres:\/\/ URL/)
      assert.notInclude(other, "secret")
    }))
})
