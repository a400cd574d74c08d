// SPDX-License-Identifier: Apache-2.0

import java.net.NetworkInterface;
import java.util.Collections;

/** Prints names and addresses of the interfaces. */
public final class Interfaces {
    public static void main(String[] args) throws Exception {
        for (NetworkInterface i : Collections.list(NetworkInterface.getNetworkInterfaces())) {
            System.out.println(i.getName() + " " + i.getIndex() + " " + i.getMTU() + " " + i.isUp()
                + " " + Collections.list(i.getInetAddresses()));
            if (!i.equals(NetworkInterface.getByName(i.getName()))) {
                throw new AssertionError(i.getName());
            }
        }
    }
}
