import java.util.*;

/**
 * Runs cases of Apache Kafka's own client against one broker: `Cases ADDRESS` reads the names of
 * cases, a line each, and prints what each of them saw as lines of `case<TAB>call<TAB>answer`, ended
 * by one of `case<TAB>.`. A case that fails prints `case<TAB>!<TAB>reason`. They run at the same time.
 */
final class Cases {
  interface Act {
    void on(Check check) throws Exception;
  }

  static final Map<String, Act> ALL = new HashMap<>();

  static {
    ALL.put("acknowledgements", Records::acknowledgements);
    ALL.put("codecs", Records::codecs);
    ALL.put("idempotence", Records::idempotence);
    ALL.put("refused_records", Records::refused);
    ALL.put("range", Groups::range);
    ALL.put("cooperative", Groups::cooperative);
    ALL.put("static_members", Groups::staticMembers);
    ALL.put("commits", Groups::commits);
    ALL.put("newer_groups", Groups::newer);
    ALL.put("administered_groups", Groups::administered);
    ALL.put("transactions", Transactions::committedAndAborted);
    ALL.put("offsets_in_transactions", Transactions::offsets);
    ALL.put("zombies", Transactions::zombies);
    ALL.put("administered_transactions", Transactions::administered);
    ALL.put("topics", Administration::topics);
    ALL.put("settings", Administration::settings);
    ALL.put("cluster", Administration::cluster);
    ALL.put("offsets", Administration::offsets);
    ALL.put("not_served", Administration::notServed);
  }

  public static void main(String[] arguments) {
    if (arguments.length != 1) {
      System.err.println("usage: Cases ADDRESS, and the names of cases as input");
      System.exit(2);
    }
    Scanner input = new Scanner(System.in);
    while (input.hasNextLine()) {
      String name = input.nextLine();
      new Thread(() -> print(name, run(arguments[0], name))).start();
    }
  }

  private static List<String> run(String address, String name) {
    Act act = ALL.get(name);
    if (act == null) return List.of("!\tthere is no such case");
    Check check = new Check(address, name);
    try (check) {
      act.on(check);
    } catch (Exception | Error failure) {
      check.note("!", failure + " at " + failure.getStackTrace()[0]);
    }
    return check.lines;
  }

  private static synchronized void print(String name, List<String> lines) {
    lines.forEach(line -> System.out.println(name + "\t" + line));
    System.out.println(name + "\t.");
  }
}
